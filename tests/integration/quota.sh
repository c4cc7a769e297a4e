#!/usr/bin/env bash
# Goal: a quota holds one source back, over every transport in its own way, loses nothing unseen and touches no other source.
# Method: 500 records a second for each source; senders that bring more at once, over UDP, TCP, TLS, RELP and HTTPS, beside one that brings little.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
begin_test
stele_ingest_toml='source_records_per_s = 500'
start_stele "$work/s"
udp=127.0.0.1:$(port_of syslog-udp) tcp=127.0.0.1:$(port_of syslog-tcp) tls=127.0.0.1:$(port_of syslog-tls)
relp=127.0.0.1:$(port_of relp)
milliseconds() { echo $(($(date +%s%N) / 1000000)); }

# UDP: refused and counted, exactly. A burst of one second is allowed.
"$send" --udp "$udp" --from 127.0.0.2 --count 3000 --tag heron-flood >"$work/udp.json"
"$send" --udp "$udp" --from 127.0.0.3 --count 100 --rate 200 --tag heron-slow >/dev/null
udp_balances udp 3100
found heron-slow 100
refused=$(jq '.losses.quota' "$work/account.json")
[ "$refused" -ge 2000 ] && [ "$refused" -le 2500 ] || fail "of 3,000 at once $refused were refused, 500 and a little are allowed"
same 'nothing else was lost' "$refused" "$(jq .lost "$work/account.json")"
losses_recorded udp
search 'kind:loss quota' >"$work/found.json"
same 'the entries name the cause and the source' '127.0.0.2' \
  "$(jq -r '[.rows[] | select((.payload_b64 | @base64d | fromjson | .cause) == "quota") | .source.peer] | unique | join(" ")' "$work/found.json")"

# Streams: read no faster than that; everything comes. 3,000 records take five seconds beyond the burst, give or take what one read brings.
for transport in tcp tls relp; do
  name=syslog-$transport address=${!transport}
  [ "$transport" != relp ] || name=relp
  begin=$(milliseconds)
  "$send" "--$transport" "$address" --from 127.0.0.4 --count 3000 >/dev/null & flood=$!
  sleep 0.3
  "$send" "--$transport" "$address" --from 127.0.0.5 --count 20 --tag "heron-beside-$transport" >/dev/null
  found "heron-beside-$transport" 20 3
  wait_stored "$name" 3020 40 || fail "$transport: not all came"
  wait "$flood" || fail "$transport: the sender failed"
  pass "$transport: 3,000 records of one source took $(($(milliseconds) - begin)) ms, nothing was lost"
  same "$transport: lost" 0 "$(account "$name" | jq .lost)"
done

# A connection cannot be used to go around it: the quota is the source's, and the next connection waits for the debt of the last.
begin=$(milliseconds)
for _ in 1 2 3 4 5 6; do "$send" --tcp "$tcp" --from 127.0.0.6 --count 500 >/dev/null; done
wait_stored syslog-tcp 6020 40 || fail 'tcp: not all came'
took=$(($(milliseconds) - begin))
[ "$took" -ge 3000 ] || fail "six connections of one source brought 3,000 records in $took ms"
pass "six connections of one source, 3,000 records: $took ms"

# HTTPS: 503 with Retry-After, nothing stored, and taken again later.
for i in $(seq 1500); do printf '{"w":"heron-https","n":%d}\n' "$i"; done >"$work/events"
ask() {
  curl -sS --cacert "$stele_dir/keys/ca.pem" -D "$work/head" -o "$work/answer" -w '%{http_code}' --max-time 30 -H 'Content-Type: application/x-ndjson' \
    --data-binary "@$work/events" "$@" "https://localhost:$(port_of https-json)/v1/events"
}
same 'a body within the burst, however large, is taken' 200 "$(ask)"
same 'the next one must wait' 503 "$(ask)"
grep -qi '^retry-after: [1-9]' "$work/head" || fail "503 without Retry-After: $(cat "$work/head")"
pass '503 says when to come again'
same 'another source need not' 200 "$(ask --interface 127.0.0.7)"
end=$((SECONDS + 20))
until [ "$(ask)" = 200 ]; do [ "$SECONDS" -lt "$end" ] || fail 'it is refused for ever'; sleep 0.5; done
pass 'and is taken when its time has come'
sleep 1.2
same 'three bodies are stored, whole' 4500 "$(stored_by https-json)"
alive
verify_says "$good_words"
succeeds 'stele up stops cleanly' stop_stele
finish_test
