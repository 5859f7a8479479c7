#!/usr/bin/env bash
# bpftrace 0.23.2-1 (Debian 13) on Linux 6.12.117-1 (Debian 13's linux-image-6.12.117+deb13-amd64) and 7.3.4-1~bpo13+1
# (trixie-backports' linux-image-7.3.4+deb13-amd64): how many calls of __fput, with which the last close of a file ends, a BPF
# program counts while four processes on one processor open and close 200,000 files.
#
# Seen: on 6.12 as Debian boots it (preempt=voluntary) kprobe, fentry and fexit programs count every call. On 7.3 as Debian boots
# it (preempt=lazy) the kprobe program still does, but the fentry and fexit programs miss 6 to 10 calls in 100, and on 6.12 with
# preempt=full 3 to 8. bpftrace says nothing of it and ends with 0. `bpftool prog show` tells the number as recursion_misses: what
# a program counted and what it missed are all the calls, though nothing here recurses.
#
# A good engineer would guess: a tracing program sees every call, or is said to have lost some, as bpftrace says when its ring
# buffer was full; fentry and fexit see what kprobes see, only faster; recursion_misses are calls that the program itself caused.
# But the guard against recursion is a mark for each processor and not for each task (__bpf_prog_enter_recur in
# kernel/bpf/trampoline.c): while a task that was preempted within the program waits, the program is run for no other task on
# that processor. So a preemption costs not one call but those of whole time slices: many more are lost than tasks preempted.
#
# It matters to whoever counts or follows dma-bufs by BPF, on __fput or on another function: a tool that was exact on 6.12 takes
# freed buffers for leaked ones on 7.3, and only on a busy machine. Read recursion_misses (BPF_OBJ_GET_INFO_BY_FD) beside what
# was heard, and look at all buffers anew where it has grown; or take a kprobe, whose handler is not preempted.
#
# Needs apt, mmdebstrap as root, gcc with the static C library, cpio and qemu-system-x86_64.
set -euo pipefail
old=linux-image-6.12.117+deb13-amd64=6.12.117-1 new=linux-image-7.3.4+deb13-amd64=7.3.4-1~bpo13+1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
# This machine's own archive of Debian, wherever it is, asked for Debian 13 and its backports.
apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' 'Origin: Debian' |
  awk -v deb="deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] " '$2 ~ /^[a-z]+(-updates|-security)?$/ {
    sub(/^[a-z]+/, "trixie", $2)
    print deb $0
    if (sub(/^trixie$/, "trixie-backports", $2)) print deb $0
  }' | sort -u > sources.list
mmdebstrap --mode=root --variant=extract \
  --include="bpftrace=0.23.2-1,bpftool=7.8.0+7.3.4-1~bpo13+1,busybox-static,linux-base/trixie-backports,$old,$new" \
  trixie root sources.list > mmdebstrap.log 2>&1 || { tail mmdebstrap.log >&2 && exit 1; }
mv root/boot/vmlinuz-6.12.* vmlinuz-old
mv root/usr/lib/modules/7.3.*/vmlinuz vmlinuz-new
rm -rf root/boot root/var root/usr/share root/usr/lib/{modules,systemd,udev,dracut}
for name in bin sbin lib lib64; do ln -sfn "usr/$name" "root/$name"; done

cat > closer.c <<'C'
// Opens and closes 50,000 files under a name of its own, and says how many times it was preempted.
#include <fcntl.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

int main(void) {
    prctl(PR_SET_NAME, "closer");
    for (int i = 0; i < 50000; i++) close(open("/dev/null", O_RDONLY));
    prctl(PR_SET_NAME, "leaving"); // and what its end closes is not counted
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    printf("SEEN preempted %ld\n", usage.ru_nivcsw);
    return 0;
}
C
gcc -static -O1 -Wall -o root/closer closer.c

cat > root/init <<'SH'
#!/bin/busybox sh
export PATH=/usr/sbin:/usr/bin
/bin/busybox --install -s /usr/bin
mkdir -p /proc /sys /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t debugfs debug /sys/kernel/debug
mount -t tracefs trace /sys/kernel/tracing
echo "SEEN preemption $(tr -d '\n' < /sys/kernel/debug/sched/preempt)"
program=
for kind in kprobe fentry fexit; do program="$program $kind:__fput /comm == \"closer\"/ { @$kind = count(); }"; done
bpftrace -e "$program" > /told 2>&1 &
tracer=$!
# Attached are fentry and fexit once each has its link, and the kprobe once the kernel lists it.
attached() { [ "$(bpftool link show | grep -c '^[0-9].* tracing')" = 2 ] && grep -q __fput /sys/kernel/debug/kprobes/list; }
for i in $(seq 120); do attached && break; sleep 1; done
sleep 2
closers=
for i in 1 2 3 4; do /closer & closers="$closers $!"; done
wait $closers
bpftool prog show | sed -nE 's/^.* name (kprobe|fentry|fexit)_.* recursion_misses ([0-9]+).*$/SEEN misses \1 \2/p'
kill -INT $tracer
wait $tracer
echo "SEEN ended $?"
sed -nE '/./ s/^/SEEN told /p' /told
poweroff -f
SH
chmod +x root/init
(cd root && find . | cpio -o -H newc --quiet) > initramfs

# boot KERNEL PACKAGE PARAMETERS
boot() {
  timeout 600 qemu-system-x86_64 -m 2G -nodefaults -display none -nic none -no-reboot -serial file:console \
    -kernel "vmlinuz-$1" -initrd initramfs -append "console=ttyS0 quiet panic=-1 no_timer_check $3" < /dev/null
  sed -nE 's/ *\r$//; s/^.*SEEN //p' console > figures
  echo "--- $2 $3" && cat figures
  # The misses are those of all processes, the other ones' being a few dozen at most.
  awk -v kernel="${2%%+*}" '
    $1 == "preemption" {sub(/^preemption /, ""); print kernel ": " $0}
    $1 == "preempted" {preempted += $2}
    $1 == "misses" {misses[$2] = $3}
    $1 == "ended" {print "bpftrace ends with " $2}
    $1 == "told" && $2 ~ /^@/ {count[substr($2, 2, length($2) - 2)] = $3; next}
    $1 == "told" {sub(/^told /, ""); print "bpftrace says: " $0}
    function tell(kind,  lost, others) {
      lost = 200000 - count[kind]
      others = misses[kind] - lost
      if (lost == 0) print kind " counts every call"
      else if (lost > preempted && others >= 0 && others < 50)
        print kind " misses more calls than there were preemptions; recursion_misses is their number"
      else print kind " misses " lost " calls at " preempted " preemptions; recursion_misses is " misses[kind] + 0
    }
    END {tell("kprobe"); tell("fentry"); tell("fexit")}' figures >> seen
}
boot old "$old" ""
boot old "$old" preempt=full
boot new "$new" ""
missing="misses more calls than there were preemptions; recursion_misses is their number"
cat > expected <<TEXT
linux-image-6.12.117: none (voluntary) full
bpftrace ends with 0
bpftrace says: Attaching 3 probes...
kprobe counts every call
fentry counts every call
fexit counts every call
linux-image-6.12.117: none voluntary (full)
bpftrace ends with 0
bpftrace says: Attaching 3 probes...
kprobe counts every call
fentry $missing
fexit $missing
linux-image-7.3.4: full (lazy)
bpftrace ends with 0
bpftrace says: Attaching 3 probes...
kprobe counts every call
fentry $missing
fexit $missing
TEXT
echo "---" && cat seen
diff expected seen && echo "as recorded: bpftrace 0.23.2-1, $old, $new" || { tail -n 20 console && exit 1; }
