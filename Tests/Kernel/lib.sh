# Shared by the scripts in this folder; sourced, not run.
set -euo pipefail
# A make that these scripts call is not one of the make that called them: it would say which folder it
# enters, also where its output is an answer.
unset MAKEFLAGS MAKELEVEL MFLAGS

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${LINUXHEAPS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/linux-heaps}
mkdir -p "$cache/kernels"

# All that these scripts tell goes to stderr, with the seconds since they began; stdout carries answers.
say() { printf '[%4ds] %s\n' "$SECONDS" "$*" >&2; }
die() {
  say "error: $*"
  exit 1
}

. "$(dirname "${BASH_SOURCE[0]}")/../../packaging/toolchain.sh"

# apt with lists, cache and one more source of our own, so that the machine's apt is left as it is.
# A mirror that is refreshed too seldom has lists whose date has passed: they are signed all the same, and serve a test.
private_apt() {
  local tool=$1
  shift
  "$tool" -o "Dir::State::Lists=$cache/apt/lists" -o "Dir::Cache=$cache/apt/cache" \
    -o "Dir::Etc::SourceList=$cache/apt/backports.list" -o APT::Sandbox::User=root \
    -o APT::Get::List-Cleanup=false -o Acquire::Retries=3 -o Acquire::Check-Valid-Until=false -q "$@"
}

# apt that knows sid, trixie and trixie-backports alone, for this machine and for arm64.
arm64_apt() {
  private_apt "$1" -o "Dir::Etc::SourceList=$cache/apt/arm64.list" -o Dir::Etc::SourceParts=/dev/null \
    -o APT::Architectures::=amd64 -o APT::Architectures::=arm64 "${@:2}"
}

# The first Debian archive that the machine itself uses.
debian_mirror() {
  local mirror
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' | head -n 1)
  if [ -z "$mirror" ]; then
    # A mirror may call itself otherwise.
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | head -n 1)
  fi
  [ -n "$mirror" ] || die "apt knows no Debian archive: \`apt-get update\` was never run, or no source is Debian's"
  echo "$mirror"
}

prepare_apt() { refresh private_apt backports trixie-backports; }
prepare_arm64_apt() { refresh arm64_apt arm64 sid trixie trixie-backports; }

# refresh APT LIST SUITE...: writes LIST.list of the suites and reads it into the lists at hand.
refresh() {
  local apt=$1 stamp=$cache/apt/$2 log=$cache/apt/$2.log mirror suite
  mkdir -p "$cache/apt/lists/partial" "$cache/apt/cache/archives/partial"
  # Once a day is often enough to learn of a newer kernel.
  if [ -n "$(find "$stamp.updated" -mmin -1440 2>/dev/null)" ]; then return; fi
  # Without a network this takes a while: where older lists are at hand, one try a day is enough.
  if [ -e "$stamp.updated" ] && [ -n "$(find "$stamp.tried" -mmin -1440 2>/dev/null)" ]; then return; fi
  touch "$stamp.tried"
  mirror=$(debian_mirror)
  for suite in "${@:3}"; do
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main"
  done > "$stamp.list"
  say "reading package lists ($2: ${*:3})"
  # On its own, apt-get says that all went well with what it could not fetch.
  if "$apt" apt-get update --error-on=any > "$log" 2>&1; then
    touch "$stamp.updated"
  else
    say "warning: apt-get update failed, going on with the lists at hand; see $log"
  fi
}

# fetch_package NAME DIRECTORY [APT]: downloads and unpacks without installing. Ends with 75, for now, where it cannot be downloaded.
fetch_package() {
  local name=$1 directory=$2 apt=${3:-private_apt}
  mkdir -p "$directory"
  say "downloading $name"
  (cd "$directory" && "$apt" apt-get download "$name" > download.log 2>&1) || {
    say "cannot download $name: $(tail -n 1 "$directory/download.log")"
    exit 75
  }
  dpkg-deb -x "$directory"/*.deb "$directory" || die "cannot unpack $name"
  rm -f "$directory"/*.deb
}

# The newest of trixie-backports.
newest_source() {
  private_apt apt-cache pkgnames linux-source- | grep -E '^linux-source-[0-9]+\.[0-9]+$' | sort -V | tail -n 1
}

# Asked of this script's apt, or of $apt.
candidate_version() { "${apt:-private_apt}" apt-cache policy "$1" | awk '/Candidate:/ {print $2}'; }

# newest_cached FOLDER PATTERN: the newest that matches, for a machine whose archive cannot be reached; nothing where there is none.
newest_cached() { find "$1" -maxdepth 1 -name "$2" ! -name '*.log' | sort -V | tail -n 1; }

# Whether this machine's processor runs guests itself. /dev/kvm can be there and of no use, so a small guest is started: the
# image's kernel without a file system, which has to come as far as to panic for want of one. Asked once a boot.
has_virtualisation() {
  local image=$1 answer console
  answer=$cache/virtualisation-$(cat /proc/sys/kernel/random/boot_id)
  if [ ! -f "$answer" ]; then
    rm -f "$cache"/virtualisation-*
    console=$(mktemp)
    if [ -w /dev/kvm ]; then
      # In a shell of its own, which says to nobody that QEMU was aborted.
      (
        timeout --kill-after=1 20 qemu-system-x86_64 -M q35 -accel kvm -cpu host -m 256M -nodefaults -display none -nic none \
          -no-reboot -kernel "$image/vmlinuz" -append "console=ttyS0 panic=-1" -serial "file:$console" < /dev/null
        true
      ) > /dev/null 2>&1
    fi
    if grep -q 'VFS: Unable to mount root' "$console"; then echo yes; else echo no; fi > "$answer"
    rm -f "$console"
    if [ "$(cat "$answer")" = yes ]; then
      say "guests run with hardware virtualisation"
    else
      say "guests run emulated: no guest starts with this machine's hardware virtualisation"
    fi
  fi
  [ "$(cat "$answer")" = yes ]
}

# QEMU's machine for the scripts that start it themselves.
qemu_machine() {
  if has_virtualisation "$1"; then echo "-M q35 -accel kvm -cpu host"; else echo "-M q35 -accel tcg,thread=multi -cpu max"; fi
}

# QEMU's machine for arm64, whose processors run beside one another. Of a real one's features pointer authentication is the one that
# takes an emulated one long.
arm64_machine="-M virt -accel tcg -cpu max,pauth-impdef=on -smp ${LINUXHEAPS_PROCESSORS:-2} -m 1G -nodefaults \
  -display none -nic none -no-reboot"

# check_static FOLDER: what is asked of the files that `make static` makes, whatever they are for.
check_static() {
  local program size
  for program in heapctl heapd; do
    size=$(stat -c %s "$1/$program")
    say "$program: $size bytes"
    [ "$size" -le 16000000 ] || die "$program is larger than 16 MB"
    ! readelf -lW "$1/$program" | grep INTERP > /dev/null || die "$program asks for a dynamic linker"
  done
  find "$1" -type f -exec "$here/../../packaging/segments.sh" {} +
}

# For every guest's command line. The kernel gives its timer some 60 ms of real time to tick and panics where it does not ("IO-APIC +
# timer doesn't work!", check_timer in arch/x86/kernel/apic/io_apic.c): on a busy host an emulated one may take longer.
guest_parameters=no_timer_check
