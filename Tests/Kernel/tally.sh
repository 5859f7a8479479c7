# Sourced in a booted kernel, by any shell. tally KERNEL BYTES LOG: of a log of `heapctl verify` a line for each heap, which table.py reads:
# the kernel, its release and page size, seconds since it was booted, the heap, how many checks passed, failed, were skipped, and why.
tally() {
  awk -F '  ' -v machine="tally | $1 | $(uname -r) | $2 | $(cut -d. -f1 /proc/uptime)" '
    /^(pass|fail|skip)  / {
      heap = $2
      sub(/, served at .*/, " by heapd", heap)
      if (!(heap in seen)) heaps[++number] = heap
      seen[heap] = 1
      count[heap, $1]++
      if ($1 == "skip") {
        why = $0
        sub(/^skip  .*  [a-z0-9-]+: /, "", why)
        if (!((heap, why) in known)) reasons[heap] = reasons[heap] (reasons[heap] == "" ? "" : "; ") why
        known[heap, why] = 1
      }
    }
    END {
      for (place = 1; place <= number; place++) {
        heap = heaps[place]
        printf "%s | %s | %d | %d | %d | %s\n", machine, heap, count[heap, "pass"], count[heap, "fail"], count[heap, "skip"], reasons[heap]
      }
    }' "$3"
}
