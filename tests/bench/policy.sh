#!/usr/bin/env bash
# Usage: scripts/bench policy [--zones N] [--prefixes N] [--rounds N] [--build DIR]
#
# Processor seconds (user and system) to check, compile and apply a network policy, in a network namespace of its own. "apply" is one
# transaction and the read-back with its comparison; "apply again" is the same policy once more, when nothing changes. Needs root.
#
#   --zones N      interfaces, each a zone (default 1000)      --prefixes N   allowed sources in all of them (default 10000)
#   --rounds N     (default 3)                                 --build DIR    folder of the built programs (default: the release preset)
#
# Every round goes to build/bench/policy.ndjson. Exit status 1: compiling and applying took more than the goal of 2 s in every round.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../../scripts/lib/common.sh"

zones=1000 prefixes=10000 rounds=3 build='' goal_s=2
while [ $# -gt 0 ]; do
  case "$1" in
    --zones) zones=$2; shift 2 ;;
    --prefixes) prefixes=$2; shift 2 ;;
    --rounds) rounds=$2; shift 2 ;;
    --build) build=$2; shift 2 ;;
    --help|-h) print_help "$0"; exit 0 ;;
    *) usage_error "unknown option $1" ;;
  esac
done
need jq unshare
if [ -z "$build" ]; then
  configure_and_build release stele-test-nft
  build="$root/build/release/bin"
fi
mkdir -p "$root/build/bench"
figures="$root/build/bench/policy.ndjson"
: >"$figures"
say "machine: $(nproc) cores, $(awk -F': ' '/model name/ { print $2; exit }' /proc/cpuinfo); load $(cut -d' ' -f1-3 /proc/loadavg)"
for round in $(seq "$rounds"); do
  as_root unshare --net "$build/stele-test-nft" bench "$zones" "$prefixes" | tee -a "$figures" |
    jq -r --arg round "$round" '"round \($round): \(.zones) zones, \(.prefixes) prefixes: check \(.check_cpu_s * 1000 | round) ms, compile \(.compile_cpu_s * 1000 | round) ms, " +
      "apply \(.apply_cpu_s * 1000 | round) ms, apply again \(.apply_again_cpu_s * 1000 | round) ms of processor time"'
done
best=$(jq -s '[.[] | .compile_cpu_s + .apply_cpu_s] | min' "$figures")
say "compile and apply, best round: $best s (goal: less than $goal_s)"
jq -ne --argjson best "$best" --argjson goal "$goal_s" '$best < $goal' >/dev/null
