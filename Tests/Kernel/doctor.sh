# Sourced in a booted kernel.
# fix CAUSE HEAPCTL...: what `heapctl doctor` tells to do about the cause, nothing where it does not tell of it.
fix() {
  local cause=$1
  shift
  "$@" doctor --verbose 2> /dev/null |
    awk -v id="$cause" '/^ *fix: / {sub(/^ *fix: /, ""); fix = $0} /^ *id: / && $2 == id {print fix; exit}'
}
