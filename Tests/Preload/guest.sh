#!/usr/bin/env bash
# guest.sh PROGRAMS FOLDER: runs inside a booted kernel, as root: programs that open the heaps themselves, on the nodes, and as a user with no
# right on those with heapd's buffers. What they say has to be the same. PROGRAMS has heapctl, heapd and liblinuxheaps-preload.so, FOLDER
# what build.sh has made and the kernel's self-test of heaps.
set -uo pipefail
programs=$1 failed=0
work=$(mktemp -d)
chmod 755 "$work"
cp "$2"/* "$work"
socket=$work/heap.sock
nobody=(setpriv --reuid=65534 --regid=65534 --clear-groups)
served=("${nobody[@]}" "$programs/heapctl" run --socket "$socket" --)
pass() { echo "pass  $*"; }
fail() {
  echo "FAIL  $*"
  sed 's/^/      /' "$work/said"
  failed=1
}
# same WORD...: the command says the same of the nodes and of heapd.
same() {
  local status=0
  (cd "$work" && "$@") > "$work/node" 2>&1 || fail "$* on the nodes: $(cat "$work/node")"
  (cd "$work" && "${served[@]}" "$@") > "$work/heapd" 2>&1 || status=$?
  # How many descriptors a program has: one is a connection to heapd, which is kept.
  sed -i 's/: before=[0-9]* after=[0-9]*$//' "$work/node" "$work/heapd"
  diff "$work/node" "$work/heapd" > "$work/said" || status=1
  [ "$status" = 0 ] && pass "$*" || fail "$* with heapd's buffers"
}

: > "$work/said"
# More than the kernel's test has at once; closed buffers are noticed later than that many can be allocated one after the other.
echo 'connection-buffers = 40' > "$work/heapd.conf"
"$programs/heapd" --socket "$socket" --mode 0666 --config "$work/heapd.conf" > "$work/log" 2>&1 &
heapd=$!
for _ in $(seq 100); do [ -S "$socket.observer" ] && break; sleep 0.1; done

"${nobody[@]}" "$work/user" system > "$work/said" 2>&1 && fail "the user may open the nodes"
for heap in system default_cma_region; do same ./user "$heap"; done
# The kernel's test imports into vgem, if it may.
modes=$(stat -c '%a %n' /dev/dri/card*)
chmod a+rw /dev/dri/card*
same ./dmabuf-heap
grep -q 'Testing heap: default_cma_region' "$work/heapd" || fail "the kernel's test found no contiguous heap"
while read -r mode node; do chmod "$mode" "$node"; done <<< "$modes"

chmod 700 /dev/dma_heap
FOLDER_IS_CLOSED=1 MEMORY_IS_CHECKED=1 "${served[@]}" "$work/user" system > "$work/said" 2>&1 &&
  pass "user, where the folder is closed" || fail "user, where the folder is closed"
chmod 755 /dev/dma_heap

# heapctl itself would wait for heapd to let go of a buffer, and heapd for it.
verb='alloc --size 4K --heap system'
status=0
timeout 20 "${served[@]}" "$programs/heapctl" $verb > "$work/said" 2>&1 || status=$?
[ "$status" != 0 ] && [ "$status" != 124 ] && grep -q 'another process holds the new buffer' "$work/said" &&
  pass "heapctl $verb is told to connect" || fail "heapctl $verb: status $status"

# Who may open the nodes has heapd's buffers only where that is asked for; the name in the kernel tells. Answers 0 where it is heapd's.
heap=system
is_served() {
  mkfifo "$work/lines"
  "$programs/heapctl" run --socket "$socket" "$@" "$work/user" "$heap" ask < "$work/lines" > "$work/said" 2>&1 &
  local user=$! status=0
  exec 9> "$work/lines"
  echo >&9
  for _ in $(seq 100); do [ -s "$work/said" ] && break; sleep 0.1; done
  grep -q 'name:.*lh:user\.' /proc/"$user"/fdinfo/* || status=1
  exec 9>&-
  wait "$user" || fail "user $heap ask"
  rm "$work/lines"
  return "$status"
}
is_served --always -- && pass "root, with --always" || fail "root, with --always"
is_served -- && fail "root, who may open the nodes" || pass "root, who may open the nodes"
ln -s /dev/dma_heap/system "$work/link"
heap=../..$work/link
is_served --always -- && pass "root, by a link, with --always" || fail "root, by a link, with --always"

for _ in $(seq 50); do grep -q '^Total 0 objects' /sys/kernel/debug/dma_buf/bufinfo && break; sleep 0.1; done
kill "$heapd" && wait "$heapd" || fail "heapd: $(cat "$work/log")"
rm -rf "$work"
[ "$failed" = 0 ] && echo "preload: passed"
exit "$failed"
