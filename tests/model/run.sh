#!/usr/bin/env bash
# Goal: the anchor's order of steps and its recovery table have no false alarm and miss no roll-back across an anchor.
# Method: spin explores every interleaving of cadence.pml within bounds; wrong orders planted on purpose, and the documented
# limits, must give a counterexample (a model that cannot fail proves nothing).
#
#   run.sh [honest|attack|canaries|rows|limits|long]...    default: all but long. Exit status 77: spin or a compiler is not installed
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
command -v spin >/dev/null && command -v gcc >/dev/null || { echo 'SKIPPED: spin (package spin) is not installed'; exit 77; }
work=$(mktemp -d "${TMPDIR:-/tmp}/stele-model.XXXXXX")
trap 'rm -rf "$work"' EXIT

# check NAME EXPECTED(errors: 0 or 1) DEFINE...   $without: a row of the table that is left out
check() {
  local name=$1 expected=$2 errors; shift 2
  mkdir "$work/$name"
  cp "$here/cadence.pml" "$work/$name/"
  grep -v "^ROW(.*, ${without:-none}, " "$here/recovery_table.def" >"$work/$name/recovery_table.def"
  (cd "$work/$name" && spin "$@" -a cadence.pml >spin.log 2>&1 &&
    gcc -O2 -w -DSAFETY -DNOREDUCE -DCOLLAPSE -DVECTORSZ=1024 -o pan pan.c && ./pan -m100000 -w24 >pan.log 2>&1) ||
    { cat "$work/$name"/*.log; echo "FAILED: $name did not run"; exit 1; }
  errors=$(sed -n 's/.*errors: \([0-9]*\).*/\1/p' "$work/$name/pan.log")
  if ! grep -q 'Search not completed\|max search depth too small' "$work/$name/pan.log" || [ "$expected" != 0 ]; then
    if [ "$errors" = "$expected" ]; then
      printf 'ok: %s: %s errors, %s states, %s\n' "$name" "$errors" "$(sed -n 's/^ *\([0-9e+.]*\) states, stored.*/\1/p' "$work/$name/pan.log")" \
        "$(sed -n 's/^pan: elapsed time \(.*\)/\1/p' "$work/$name/pan.log")"
      return
    fi
  fi
  cat "$work/$name/pan.log"
  [ ! -f "$work/$name/cadence.pml.trail" ] || (cd "$work/$name" && spin "$@" -t -p -g cadence.pml | tail -n 120)
  echo "FAILED: $name: $errors errors, expected $expected"
  exit 1
}

[ $# -gt 0 ] || set -- honest attack canaries rows limits
for part in "$@"; do
  case "$part" in
    honest) check honest 0 -DNOTES=4 -DCRASHES=3 -DBOOTS=3 ;;
    attack) check attack 0 -DNOTES=3 -DCRASHES=1 -DBOOTS=3 -DATTACKS=2 ;;
    long) check attack-long 0 -DNOTES=3 -DCRASHES=2 -DBOOTS=3 -DATTACKS=2 ;;
    canaries)
      check extend-before-intent 1 -DEXTEND_FIRST
      check count-before-index 1 -DCOUNT_FIRST
      check blind-retry 1 -DBLIND_RETRY ;;
    rows)
      for without in TpmRolledBack DiskRolledBack HistorySubstituted SlotAhead SlotContradicts ForeignExtend ForeignBeforeLogger; do
        check "without-$without" 1 -DNOTES=3 -DCRASHES=1 -DBOOTS=3 -DATTACKS=2
      done
      without='' ;;
    limits) check limits 1 -DNOTES=3 -DCRASHES=2 -DATTACKS=2 -DLIMIT ;;
    *) echo "unknown part $part"; exit 2 ;;
  esac
done
