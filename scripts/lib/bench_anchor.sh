#!/usr/bin/env bash
# Usage: scripts/bench anchor [--seconds N] [--profile slow-chip|none] [--build DIR] [--keep]
#
# Measures the vulnerability window under full ingest load: how long, and how many records, the log runs ahead of the TPM's PCR. A
# real `stele up` with the default cadences stands on a software TPM behind tests/relay, which is as slow as a slow chip (PCR extend
# 20 ms, NV write 80 ms, quote and certify 70 ms each). One TCP connection sends varied 256-byte messages as fast as Stele takes them,
# while `stele status` is asked for the window again and again.
#
#   --seconds N      of load (default 60)
#   --profile NAME   none: the software TPM as it is (default slow-chip)
#   --build DIR      folder of the built programs (default: builds the release preset and uses build/release/bin)
#   --keep           keep the working directory
#
# Prints the window's p50, p99 and maximum, the records and checkpoints a second, and what the cadences write to the TPM's NV cells a
# day, beside their budget. Every sample goes to build/bench/anchor.ndjson. Exit status 1: the p99 is above the goal of 1,000 ms.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
. "$root/scripts/lib/processes.sh"
. "$root/scripts/lib/stele.sh"

seconds=60 profile=slow-chip build='' keep=0 goal_ms=1000
while [ $# -gt 0 ]; do
  case "$1" in
    --seconds) seconds=$2; shift 2 ;;
    --profile) profile=$2; shift 2 ;;
    --build) build=$2; shift 2 ;;
    --keep) keep=1; shift ;;
    --help|-h) print_help "${BASH_SOURCE[0]}"; exit 0 ;;
    *) usage_error "unknown option $1" ;;
  esac
done
need jq awk
if [ -z "$build" ]; then
  configure_and_build release "${programs[@]}" stele-tpm-relay
  build="$root/build/release/bin"
fi
stele_bin=$build
relay="$build/stele-tpm-relay"
[ -x "$relay" ] || die "$relay is missing"

mkdir -p "$root/build/bench"
work=$(mktemp -d /tmp/stele-bench.XXXXXX)
samples="$root/build/bench/anchor.ndjson"
: >"$samples"
relay_pid='' load_pid=''
finish() {
  [ -z "$load_pid" ] || kill "$load_pid" 2>/dev/null || true
  stop_stele || true
  [ -z "$relay_pid" ] || stop_process "$relay_pid"
  if [ "$keep" = 1 ]; then echo "kept $work"; else rm -rf "$work"; fi
}
trap finish EXIT

mkdir -m 0700 "$work/relay"
"$relay" serve "$work/relay" "profile $profile" >"$work/relay/log" 2>&1 &
relay_pid=$!
for _ in $(seq 200); do [ -S "$work/relay/tpm.sock" ] && break; sleep 0.05; done
stele_more_toml=$'[anchor]\ntpm = "swtpm:path='"$work"$'/relay/tpm.sock"'
start_stele "$work/s" || die 'Stele did not start'
until [ "$(status_json | jq -r .anchor.state)" = anchored ]; do sleep 0.1; done
count() { "$relay" tell "$work/relay" "count $1"; }
extends=$(count PCR_Extend) nv=$(count nv)

say "machine: $(nproc) cores, $(awk -F': ' '/model name/ { print $2; exit }' /proc/cpuinfo); load $(cut -d' ' -f1-3 /proc/loadavg)"
say "$seconds s of load, TPM profile $profile"
port=$(port_of syslog-tcp)
{ seed=0; while :; do seed=$((seed + 1)); "$build/stele-bench-send" --tcp "127.0.0.1:$port" --count 500000 --size 256 --seed "$seed" >/dev/null; done; } &
load_pid=$!
sleep 2  # the first batch of the sender is on its way
begin=$SECONDS first=$(committed) begin_ns=$(date +%s%N)
while [ $((SECONDS - begin)) -lt "$seconds" ]; do
  status_json | jq -c '{same_boot: .mvw.same_boot, across_boot: .mvw.across_boot, committed_size, unanchored: .tpm.unanchored_since}' >>"$samples"
done
last=$(committed) end_ns=$(date +%s%N)
kill "$load_pid"; wait "$load_pid" 2>/dev/null || true
load_pid=''
extends=$(($(count PCR_Extend) - extends)) nv=$(($(count nv) - nv))
budget=$(status_json | jq -r .tpm.nv_budget)

echo
jq -s -r --argjson goal "$goal_ms" --argjson records "$((last - first))" --argjson ns "$((end_ns - begin_ns))" \
  --argjson extends "$extends" --argjson nv "$nv" --argjson budget "$budget" --argjson interval_ms 3600000 '
  def at(p): sort | .[((length - 1) * p) | round];
  map(.same_boot) as $windows | ($windows | map(.ms)) as $ms | ($windows | map(.records)) as $records_ahead |
  ($ns / 1e9) as $s | (86400000 / $interval_ms) as $daily |
  "load                 \($records / $s | floor) records/s for \($s | floor) s, \($extends) checkpoints in the PCR, \(length) samples",
  "window to the PCR    p50 \($ms | at(0.5)) ms   p99 \($ms | at(0.99)) ms   max \($ms | max) ms   goal: p99 <= \($goal) ms",
  "                     p50 \($records_ahead | at(0.5)) records   p99 \($records_ahead | at(0.99)) records",
  "unanchored samples   \(map(select(.unanchored != null)) | length)",
  "NV writes            \($nv) during the load; \($daily) anchors a day, each one write to each of two cells, and one a boot, a stop, an alarm or a demand",
  "NV budget            \($budget) writes a cell: \($budget / $daily / 365.25 * 10 | floor / 10) years at \($daily) a day, \($budget / 27 / 365.25 * 10 | floor / 10) years at the limit of 27 a day"' "$samples"
[ "$(jq -s 'map(.same_boot.ms) | sort | .[((length - 1) * 0.99) | round]' "$samples")" -le "$goal_ms" ]
