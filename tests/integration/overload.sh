#!/usr/bin/env bash
# Goal: under a flood that is many times what can be stored, every listener accounts for all that reached it, exactly; and an honest source
# that sends little is not made to wait for the floods.
# Method: a slow RELP sender measures how long each of its answers takes, first alone, then beside floods over UDP (from four addresses,
# as fast as it goes), TCP, JSON lines over TLS and RELP. STELE_OVERLOAD_SECONDS=n floods for n seconds (default 8).
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
begin_test
seconds=${STELE_OVERLOAD_SECONDS:-8}
start_stele "$work/s"
udp=127.0.0.1:$(port_of syslog-udp) tcp=127.0.0.1:$(port_of syslog-tcp) relp=127.0.0.1:$(port_of relp)
lines=127.0.0.1:$(port_of json-lines-tls)

# honest FILE: 50 messages a second, every answer is on disk.
honest() {
  "$send" --relp "$relp" --from 127.0.0.99 --count $((seconds * 50)) --rate 50 --delays --seed 99 >"$1" ||
    fail "the honest sender was not answered: $(cat "$1")"
}
delay() { jq -r --arg which "$2" '.delay_ms[$which]' "$1"; }

honest "$work/alone.json"
pass "alone: answered after $(delay "$work/alone.json" p50) ms (median), $(delay "$work/alone.json" p99) ms (p99)"

honest "$work/beside.json" & witness=$!
sleep 0.2
floods=()
for i in 1 2 3 4; do
  "$send" --udp "$udp" --from "127.0.0.$((10 + i))" --count 100000 --seed "$i" --seconds "$seconds" >"$work/udp-$i.json" & floods+=($!)
done
"$send" --tcp "$tcp" --from 127.0.0.20 --connections 16 --count 100000 --seed 5 --seconds "$seconds" >"$work/tcp.json" & floods+=($!)
"$send" --tls "$lines" --from 127.0.0.21 --connections 4 --framing lf --file "$root/tests/data/application.ndjson" --count 100000 \
  --seconds "$seconds" >"$work/json.json" & floods+=($!)
"$send" --relp "$relp" --from 127.0.0.22 --connections 4 --window 1000 --count 40000 --seed 6 --seconds "$seconds" >"$work/relp.json" & floods+=($!)
for pid in "${floods[@]}"; do wait "$pid" || fail 'a flooding sender failed'; done
wait "$witness" || fail 'the honest sender failed'

sent=$(jq -s '[.[].sent] | add' "$work"/udp-?.json)
udp_balances 'udp' "$sent"
stored=$(jq .stored "$work/account.json")
[ "$stored" -lt "$sent" ] || fail 'nothing was lost: this was no overload'
pass "udp: $sent datagrams in $seconds s, $((sent / (stored > 0 ? stored : 1))) times what was stored of them ($stored)"
losses_recorded udp
streams() {  # streams NAME SENT: nothing is lost where a sender can be made to wait
  wait_stored "$1" "$2" 60 || fail "$1: not everything that was sent is stored"
  account "$1" >"$work/account.json"
  same "$1: stored = sent" "$2" "$(jq .stored "$work/account.json")"
  same "$1: nothing lost" '0 0' "$(jq -r '"\(.lost) \(.unknown_losses)"' "$work/account.json")"
}
streams syslog-tcp "$(jq .sent "$work/tcp.json")"
streams json-lines-tls "$(jq .sent "$work/json.json")"
streams relp $(($(jq .acknowledged "$work/relp.json") + 2 * seconds * 50))

pass "beside the floods: answered after $(delay "$work/beside.json" p50) ms (median), $(delay "$work/beside.json" p99) ms (p99), $(delay "$work/beside.json" max) ms (longest)"
awk -v ms="$(delay "$work/beside.json" p99)" 'BEGIN { exit !(ms < 1000) }' || fail 'the honest source waited more than a second'
alive
verify_says "$good_words"
succeeds 'stele up stops cleanly' stop_stele
verify_says "$good_words" "$work/s"
finish_test
