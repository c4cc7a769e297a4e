#!/usr/bin/env bash
# Usage: scripts/bench audit [--records N] [--build DIR]
#
# How long `stele audit` takes for a bundle of N proven records with their payloads (default 1,000,000 of 256 varied bytes), and its
# memory; also how long the running Stele takes to write that bundle.
#
#   --records N   records in the bundle       --build DIR   folder of the built programs (default: the release preset)
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../../scripts/lib/common.sh"
. "$root/scripts/lib/processes.sh"
. "$root/scripts/lib/stele.sh"

records=1000000 build=''
while [ $# -gt 0 ]; do
  case "$1" in
    --records) records=$2; shift 2 ;;
    --build) build=$2; shift 2 ;;
    --help|-h) print_help "$0"; exit 0 ;;
    *) usage_error "unknown option $1" ;;
  esac
done
need jq python3
if [ -z "$build" ]; then
  configure_and_build release "${programs[@]}"
  build="$root/build/release/bin"
fi
stele_bin=$build
mkdir -p "$root/build/bench"
work=$(mktemp -d "$root/build/bench/audit.XXXXXX")
finish() { stop_stele >/dev/null 2>&1 || true; rm -rf "$work"; }
trap finish EXIT

# measured COMMAND...: its output goes away; prints {"status","cpu_s","wall_s","peak_mib"}
measured() {
  python3 - "$@" <<'PY'
import json, resource, subprocess, sys, time
begin = time.monotonic()
status = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps({"status": status, "cpu_s": round(used.ru_utime + used.ru_stime, 2),
                  "wall_s": round(time.monotonic() - begin, 2), "peak_mib": used.ru_maxrss // 1024}))
PY
}

start_stele "$work/s"
first=$(committed)
"$build/stele-bench-send" --tcp "127.0.0.1:$(port_of syslog-tcp)" --count "$records" --size 256 --seed 1 >/dev/null
wait_stored syslog-tcp "$records" 300
wait_checkpointed
nonce=$(printf '%064d' 1)
last=$((first + records - 1))
say "machine: $(nproc) cores, $(awk -F': ' '/model name/ { print $2; exit }' /proc/cpuinfo); load $(cut -d' ' -f1-3 /proc/loadavg)"
say "bundle of $first..$last: $(measured "$build/stele" bundle --dir "$work/s" --nonce "$nonce" --range "$first..$last" -o "$work/evidence.tar")"
say "size: $(stat -c %s "$work/evidence.tar") bytes"
jq -r .public_key_pem "$work/s/state/provisioning.json" >"$work/pin.pem"
stop_stele || warn 'Stele did not stop cleanly'
for round in 1 2 3; do
  say "stele-audit, round $round: $(measured "$build/stele-audit" "$work/evidence.tar" --nonce "$nonce" --pin "$work/pin.pem")"
done
"$build/stele-audit" --json "$work/evidence.tar" --nonce "$nonce" --pin "$work/pin.pem" | jq -r '"verdict \(.word) \(.qualifiers | join(" ")): \(.selection.records) entries, \(.selection.disclosed) payloads"'
