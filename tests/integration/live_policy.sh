#!/usr/bin/env bash
# Goal: while the policy of a running Stele changes again and again under load, no acknowledged record is lost, no packet of a connection that
# stays allowed is dropped, and none gets through that neither policy allows. Method: the miniature site (live_site.py) with a real `stele up`
# whose guard enforces the policy; changes by `stele policy apply`, RELP senders and a real rsyslog meanwhile. Needs root.
# STELE_LIVE_CHANGES=100 STELE_LIVE_PORTS=200 is the whole of it; here fewer, for the time it takes.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
[ "$(id -u)" = 0 ] || skip 'network namespaces need root'
for tool in ip nft python3 jq; do command -v "$tool" >/dev/null || skip "$tool is not installed"; done
unshare --net nft add table inet probe 2>/dev/null || skip 'this kernel has no nf_tables, or no network namespace can be made here'
for program in stele-guard stele-test-nft stele-store-payloads; do [ -x "$stele_bin/$program" ] || skip "$stele_bin/$program is not built"; done
"$root/scripts/peers" >/dev/null 2>&1 || skip 'there is no rsyslog'
begin_test
changes=${STELE_LIVE_CHANGES:-40} ports=${STELE_LIVE_PORTS:-30}
export STELE_SITE="stele-live-$$"
real_bin=$(cd "$stele_bin" && pwd)
live() { python3 "$here/live_site.py" "$real_bin" "$work" "$@"; }
rsyslog=''
end_of_site() {
  local status=$?
  [ -z "$rsyslog" ] || kill "$rsyslog" 2>/dev/null || true
  if [ "$status" = 0 ]; then end_of_test; else (exit "$status") || end_of_test; fi
  live remove
}
trap end_of_site EXIT
live build

# Stele in the appliance's namespace; what is asked of it comes from there too.
mkdir -m 0700 "$work/bin" "$work/s" "$work/rsyslog"
printf '#!/bin/sh\nexec ip netns exec %s %s/stele "$@"\n' "$STELE_SITE" "$real_bin" >"$work/bin/stele"
chmod +x "$work/bin/stele"
stele_bin=$work/bin
cp "$work/stele.toml" "$work/s/stele.toml"
start_stele "$work/s"
ip netns exec "$STELE_SITE-eth1" bash -c '. "$0/scripts/lib/common.sh"; . "$0/scripts/lib/processes.sh"; . "$0/scripts/lib/devices.sh"
  start_relp_device "$1" 5514 2514 "" 10.20.0.1 && echo "$relp_pid" >"$1/pid"' "$root" "$work/rsyslog" || fail 'rsyslog does not start'
rsyslog=$(cat "$work/rsyslog/pid")

live run "$changes" "$ports" "$work/s" || fail 'the site'

# The last message that rsyslog was given has come, and so have all before it.
last=$(tail -n 1 "$work/given" | grep -o 'live-rsyslog-[0-9]*')
found "\"$last\"" 1

# Each change is an entry, and was carried out after it and before the next one.
search 'kind:policy' | jq -c '[.rows[] | .seq as $seq | .payload_b64 | @base64d | try fromjson catch {} | select(.event == "policy_applied") | [.digest, $seq]] | sort_by(.[1])' \
  >"$work/applied"
same 'each change is an entry of the log, carried out after it and before the next' true \
  "$(jq -s '.[0][1:] as $applied | .[1] as $said | ($applied | length) == ($said | length) and
     ([range($said | length) | $applied[.][0] == $said[.].digest and $said[.].entry < $applied[.][1] and
       (. + 1 == ($said | length) or $applied[.][1] < $said[. + 1].entry)] | all)' "$work/applied" "$work/changes.json")"
same 'nobody was started again' 0 "$(status_json | jq '[.processes[].restarts] | add')"
succeeds 'stele up stops cleanly' stop_stele
verify_says "$good_words" "$work/s"

"$real_bin/stele-store-payloads" "$work/s/store" >"$work/records" || fail 'the store cannot be read'
cut -f 3- "$work/records" | grep -F live- | sort >"$work/stored"
for list in acknowledged given; do
  same "of $(wc -l <"$work/$list") messages $list none is missing in the log" 0 "$(sort "$work/$list" | comm -23 - <(sort -u "$work/stored") | wc -l)"
done
finish_test
