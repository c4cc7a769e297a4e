#!/usr/bin/env bash
# Goal: for every listener  reached the socket = stored + counted lost,  exactly: under overload, and when the receiver is killed;
# and who sends little is served while others flood.
# Method: a known number of datagrams into a socket that nobody empties for a while, with /proc/net/udp as a witness of the kernel's
# own; kill -9 of the receiver under load; the loss entries found by search add up to the same. STELE_LOSS_ROUNDS=n floods n times.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
begin_test
rounds=${STELE_LOSS_ROUNDS:-2}
start_stele "$work/s"
udp=$(port_of syslog-udp) tcp=$(port_of syslog-tcp)

# 1. A known number, no loss.
"$send" --udp "127.0.0.1:$udp" --count 2000 --rate 20000 >/dev/null
sent=2000
udp_balances 'a gentle start' "$sent"

# 2. Overload: nobody empties the socket for a second while it is flooded. An honest TCP sender talks all the while.
receiver=$(pid_of stele-receive)
(for i in $(seq 60); do printf '<13>1 - honest app 1 - - honest-tcp at %s\n' "$(date +%s%N)"; sleep 0.1; done) >"/dev/tcp/127.0.0.1/$tcp" &
honest=$!
for round in $(seq "$rounds"); do
  kill -STOP "$receiver"
  "$send" --udp "127.0.0.1:$udp" --count 60000 --seed "$round" >"$work/sent.json"
  kill -CONT "$receiver"
  sent=$((sent + $(jq .sent "$work/sent.json")))
  "$send" --udp "127.0.0.1:$udp" --count 100000 --seed "7$round" >"$work/sent.json"
  sent=$((sent + $(jq .sent "$work/sent.json")))
done
udp_balances 'overload' "$sent"
[ "$(jq '.losses.kernel_drop' "$work/account.json")" -gt 0 ] || fail 'nothing was lost: this was no overload'
losses_recorded 'overload'
wait "$honest"

# 3. The ledger does not take anything for a while: the channel fills, and the waiting datagrams with it. A second source that sends
#    little finds room all the same.
ledger=$(pid_of stele-ledger)
kill -STOP "$ledger"
"$send" --udp "127.0.0.1:$udp" --count 120000 --seed 31 >"$work/sent.json"
sent=$((sent + $(jq .sent "$work/sent.json")))
sleep 0.5
"$send" --udp "127.0.0.1:$udp" --from 127.0.0.77 --count 50 --rate 500 --tag slow-source >/dev/null
sent=$((sent + 50))
sleep 0.5
kill -CONT "$ledger"
udp_balances 'a full channel' "$sent"
found slow-source 50
[ "$(jq '.losses.overload // 0' "$work/account.json")" -gt 0 ] || fail 'the flood was not cut to its share'
pass "the flood lost $(jq .losses.overload "$work/account.json") above its share, the slow source nothing"
losses_recorded 'a full channel'

# 4. kill -9 of the receiver under load: its sockets and its accounts live on.
for round in 1 2 3; do
  "$send" --udp "127.0.0.1:$udp" --count 80000 --rate 100000 --seed "9$round" >"$work/sent.json" &
  flood=$!
  sleep "0.$((RANDOM % 5 + 1))"
  kill -KILL "$(pid_of stele-receive)"
  wait "$flood"
  sent=$((sent + $(jq .sent "$work/sent.json")))
done
udp_balances 'a receiver killed three times' "$sent"
pass "with the receivers died $(jq '.losses.receiver_died // 0' "$work/account.json") records of $sent"
losses_recorded 'a receiver killed three times'

# 5. Ledger and receiver killed together: the number is not known, and the log says so.
"$send" --udp "127.0.0.1:$udp" --count 80000 --rate 100000 --seed 99 >"$work/sent.json" &
flood=$!
sleep 0.3
kill -STOP "$(pid_of stele-ledger)"
sleep 0.1
kill -KILL "$(pid_of stele-receive)" "$(pid_of stele-ledger)"
wait "$flood"
end=$((SECONDS + 30))
until search 'kind:loss' | jq -e '[.rows[].payload_b64 | @base64d | fromjson | select(.cause == "receiver_died" and .count == null and .at_most > 0)] | length > 0' >/dev/null; do
  [ "$SECONDS" -lt "$end" ] || fail 'no loss entry says that the count is unknown'
  sleep 0.3
done
pass 'a loss entry says that the count is unknown, and at most how many'

# 6. The honest sender: how long from its clock to ours.
found 'honest-tcp' 60
jq -r '.rows[] | "\(.received // .time) \(.payload_b64 | @base64d)"' "$work/found.json" | while read -r stamp text; do
  echo $((($(date -d "$stamp" +%s%N) - ${text##*at }) / 1000000))
done | sort -n >"$work/latency"
p99=$(awk '{ v[NR] = $1 } END { i = int(NR * 0.99); print v[i < 1 ? 1 : i] }' "$work/latency")
[ "$p99" -lt 5000 ] || fail "the honest sender waited $p99 ms"
pass "the honest sender's latency under flood: median $(awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }' "$work/latency") ms, p99 $p99 ms"

verify_says "$good_words"
succeeds 'stele up stops cleanly' stop_stele
verify_says "$good_words" "$work/s"
finish_test
