# Sourced by test.sh and sanitize.sh: a service in $work, which is a folder of theirs that goes when they end.
work=$(mktemp -d)
socket=$work/heap.sock
server=
trap '[ -z "$server" ] || kill "$server" 2> /dev/null || true; rm -rf "$work"' EXIT

# serve HEAPD HEAP: has it serve the heap at $socket, 256 buffers for each connection.
serve() {
  echo 'connection-buffers = 256' > "$work/heapd.conf"
  "$1" --socket "$socket" --heap "$2" --config "$work/heapd.conf" 2> "$work/heapd.log" &
  server=$!
  for _ in $(seq 100); do
    [ -S "$socket.observer" ] && return
    sleep 0.1
  done
  cat "$work/heapd.log" >&2
  return 1
}

# A test may have ended it.
stop() {
  kill "$server" 2> /dev/null || true
  wait "$server" || true
  server=
}
