#!/usr/bin/env bash
# check.sh: the model of heapd in buffers.pml by spin: every order of its steps, for each way to hear of closes. Fails
# as well where its states or steps are not BufferTable.State's, where a part of it is never reached, and where spin
# finds no error in a mutant. 50 s of a processor, 300 MB.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
model=$PWD/buffers.pml
code=$PWD/../../Sources/LinuxHeaps/VMO/BufferTable.swift
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
fail() { echo "error: $*" >&2 && exit 1; }

# KIND STORE STAGE STAYS: buffers.pml says what they are.
ways=("memfd 1 off 1" "dmaBuf 1 on 1" "dmaBuf 1 failed 1" "dmaBuf 0 off 0")

# explore WAY [-D...]: leaves what spin says in `result`. SEARCH: options of the search's compiler, FIND: its own.
explore() {
  local kind store stage stays
  read -r kind store stage stays <<< "$1"
  shift
  # -o3: statements that it merges it takes for reached.
  spin -a -o3 "-DKIND=$kind" "-DSTORE=$store" "-DSTAGE=$stage" "-DSTAYS=$stays" "$@" "$model" > spun ||
    fail "$(cat spun)"
  gcc "${OPTIMISE:--O2}" -w "${SEARCH:--DSAFETY}" -DCOLLAPSE -DMEMLIM=1000 -o pan pan.c
  ./pan -E -m100000 ${FIND:-} > result 2>&1 || true
  grep -q 'errors: ' result || fail "spin did not end: $(tail -n 5 result)"
  if grep -qE 'search depth too small|reached -DMEMLIM' result; then fail "not all was searched: $(cat result)"; fi
}
demand_none() {
  grep -q 'errors: 0' result || fail "$1: $(grep '^pan:1' result)"
  echo "$1: $(sed -nE 's/^ *([0-9]+) states, stored.*/\1/p' result) states, no error"
}

# The code's names and steps, and the model's.
in_state() { sed -n '/enum State {/,/default: false/p' "$code"; }
in_state | sed '/func allows/,$d' | sed -nE 's/^ *case ([a-z]+)$/\1/p' | sort > states.code
sed -nE 's/^mtype:state = \{ (.*) \};/\1/p' "$model" | tr -d ' ' | tr , '\n' | sort > states.model
in_state | sed -n '/func allows/,$p' | grep -oE '\(\.[a-z]+, \.[a-z]+\)' | tr -d '(.,)' | sort > steps.code
sed -n '/^#define allows/,/^$/p' "$model" | sed -nE 's/\(from == ([a-z]+) && to == ([a-z]+)\)/\n\1 \2\n/gp' |
  grep -E '^[a-z]+ [a-z]+$' | sort > steps.model
for what in states steps; do
  [ -s $what.code ] || fail "no $what found in BufferTable.State"
  diff $what.code $what.model || fail "BufferTable.State (<) and buffers.pml (>) have other $what"
done
echo "$(wc -l < states.code) states and $(wc -l < steps.code) steps are the code's"

for way in "${ways[@]}"; do
  explore "$way"
  demand_none "$way"
  # A line and a number in its process; the text differs by way.
  awk '/^unreached in/ {process = $4}
    /, state [0-9]+, / && !/"-end-"/ {
      sub(/.*\.pml:/, ""); split($0, part, /, /); print process, part[1], part[2]
    }' result | sort -u >> unreached
done
sort unreached | uniq -c | awk -v ways=${#ways[@]} '$1 == ways' > never
[ ! -s never ] || fail "parts of the model that nothing reaches (process, line, state): $(cat never)"
# Where clients ask for little, any cycle is one of the server's own, which would never rest.
for way in "${ways[@]}"; do
  SEARCH=-DNP FIND=-l explore "$way" -DBUDGET=2
  demand_none "$way, whether all ends"
done

for mutant in $(grep -oE '^#if(n?)def MUTANT_[A-Z_]+' "$model" | awk '{print $2}' | sort -u); do
  found=
  for way in "dmaBuf 1 on 1" "memfd 1 off 1"; do
    OPTIMISE=-O0 explore "$way" "-D$mutant"
    if grep -q 'errors: 1' result; then found=$way && break; fi
  done
  [ "$found" ] || fail "$mutant: no error found"
  echo "$mutant: found ($found): $(sed -nE 's/^pan:1: (.{0,60}).*/\1/p' result)"
done
