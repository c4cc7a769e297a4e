#!/usr/bin/env bash
# Goal: two zones are two receivers: what each takes is told apart, and neither a flood nor a death in one is felt in the other.
# Method: two zones on the loopback, real senders; one receiver is killed with SIGKILL and stopped while the other's open
# connection goes on; the loss entries of each zone add up to what its listeners count. Wrong configurations end with a line.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
begin_test
mkdir -m 0700 "$work/s"
cat >"$work/s/stele.toml" <<'TOML'
[ingest]
source_records_per_s = 0
[viewer]
port = 0
[[zones]]
name = "plant"
address = ["127.0.0.1", "::1"]
syslog_udp_port = 0
syslog_tcp_port = 0
syslog_tls_port = 0
[[zones]]
name = "office"
hosts = ["logs.example.org"]
syslog_udp_port = 0
syslog_tcp_port = 0
syslog_tls_port = 0
relp_port = 0
json_lines_tls_port = 0
allowed_sources = ["127.0.0.0/29"]
TOML
start_stele "$work/s"

zone_port() { jq -er --arg z "$1" --arg l "$2" '.zones[$z].ports[$l]' "$stele_dir/run/ready.json"; }
receiver_of() { jq -er --arg p "stele-receive@$1" '.pids[$p]' "$stele_dir/run/ready.json"; }
listener() { status_json | jq -c --arg z "$1" --arg l "$2" '.listeners[] | select(.zone == $z and .name == $l)'; }
zone() { status_json | jq -c --arg z "$1" '.zones[] | select(.name == $z)'; }

# 1. Each zone has a process in an empty network of its own, its listeners, its certificate.
plant=$(receiver_of plant) office=$(receiver_of office)
[ "$plant" != "$office" ] || fail 'both zones have one process'
pass 'a process for each zone'
if [ "$(jq -r .network "$stele_dir/run/ready.json")" = 'empty namespace' ]; then
  nets=$(readlink "/proc/$plant/ns/net" "/proc/$office/ns/net" "/proc/$$/ns/net" 2>/dev/null | sort -u | wc -l) || nets=0
  if [ "$nets" -gt 0 ]; then same 'a network namespace for each' 3 "$nets"; fi
fi
same 'the ports of no zone are told without its name' '["viewer"]' "$(jq -c '.ports | keys' "$stele_dir/run/ready.json")"
same 'a second address has listeners of its own' true \
  "$(jq '.zones.plant.ports["syslog-tcp-2"] > 0 and .zones.office.ports["syslog-tcp-2"] == null' "$stele_dir/run/ready.json")"
names_of() { openssl x509 -in "$1" -noout -ext subjectAltName 2>/dev/null; }
names_of "$stele_dir/keys/ingest-office.pem" | grep -q logs.example.org || fail 'the certificate of office does not name its host'
! names_of "$stele_dir/keys/ingest-plant.pem" | grep -q logs.example.org || fail 'the certificate of plant names the host of office'
served() {
  openssl s_client -connect "127.0.0.1:$(zone_port "$1" syslog-tls)" -CAfile "$stele_dir/keys/ca.pem" </dev/null 2>/dev/null |
    openssl x509 -noout -fingerprint -sha256
}
for z in plant office; do
  same "$z serves its own certificate" "$(openssl x509 -in "$stele_dir/keys/ingest-$z.pem" -noout -fingerprint -sha256)" "$(served $z)"
done

# 2. Records say which zone they came by, over every address.
for z in plant office; do
  printf '<13>1 - host app 1 - - first-of-%s\n' "$z" >"/dev/tcp/127.0.0.1/$(zone_port $z syslog-tcp)"
done
printf '<13>1 - host app 1 - - first-of-plant\n' >"/dev/tcp/::1/$(zone_port plant syslog-tcp-2)"
found first-of-plant 2
same 'their zone is plant' '["plant"]' "$(jq -c '[.rows[].source.zone] | unique' "$work/found.json")"
found first-of-office 1
same 'its zone is office' office "$(jq -r '.rows[0].source.zone' "$work/found.json")"
found 'source:plant first' 2
stele_cli status >"$work/status" || true
grep -q '^plant  *syslog-tcp-2 ' "$work/status" || { cat "$work/status" >&2; fail 'stele status does not show the zones'; }
pass 'stele status shows the zones'

# 3. A source that its zone does not allow is refused there, counted there, and taken in the other.
for z in plant office; do
  "$send" --udp "127.0.0.1:$(zone_port $z syslog-udp)" --from 127.0.0.99 --count 5 --tag from-elsewhere >/dev/null
done
found from-elsewhere 5
same 'all of zone plant' '["plant"]' "$(jq -c '[.rows[].source.zone] | unique' "$work/found.json")"
refused() { search 'kind:loss' | jq -c '[.rows[].payload_b64 | @base64d | fromjson | select(.cause == "refused_source") | [.zone, .count]]'; }
end=$((SECONDS + 20))
until [ "$(refused)" = '[["office",5]]' ]; do
  [ "$SECONDS" -lt "$end" ] || fail "the refused messages of office are not in the log: $(refused)"
  sleep 0.3
done
pass 'the refusal is an entry of zone office'

# balanced ZONE SENT: all that was sent to its UDP listener is stored or counted lost, and its loss entries add up.
balanced() {
  local end=$((SECONDS + 60)) account sum lost
  while :; do
    account=$(listener "$1" syslog-udp) || account='{}'
    [ "$(jq --argjson n "$2" '.stored + .lost == $n' <<<"$account")" = true ] && break
    [ "$SECONDS" -lt "$end" ] || fail "$1: of $2 sent are stored and lost: $account"
    sleep 0.3
  done
  pass "$1: stored $(jq .stored <<<"$account") + lost $(jq .lost <<<"$account") = sent $2"
  lost=$(jq .lost <<<"$account")
  while :; do
    sum=$(search 'kind:loss' | jq --arg z "$1" '[.rows[].payload_b64 | @base64d | fromjson | select(.zone == $z and .listener == "syslog-udp") | .count] | add // 0') || sum=none
    [ "$sum" = "$lost" ] && break
    [ "$SECONDS" -lt "$end" ] || fail "$1: the loss entries add up to $sum, lost are $lost"
    sleep 0.3
  done
  pass "$1: its loss entries add up"
}

# 4. The receiver of plant is killed three times under load, with its hands full: the ledger stands still before. Office has an open
#    connection and a trickle all the while.
exec 4>"/dev/tcp/127.0.0.1/$(zone_port office syslog-tcp)"
sent=5 ledger=$(pid_of stele-ledger)
for round in 1 2 3; do
  "$send" --udp "127.0.0.1:$(zone_port plant syslog-udp)" --count 60000 --rate 100000 --seed "$round" >"$work/sent.json" &
  flood=$!
  for i in $(seq 10); do printf '<13>1 - honest app 1 - - office-goes-on %s\n' "$(date +%s%N)" >&4; sleep 0.05; done
  kill -STOP "$ledger"
  sleep 0.4
  kill -KILL "$(receiver_of plant)"
  kill -CONT "$ledger"
  for i in $(seq 10); do printf '<13>1 - honest app 1 - - office-goes-on %s\n' "$(date +%s%N)" >&4; sleep 0.05; done
  wait "$flood"
  sent=$((sent + $(jq .sent "$work/sent.json")))
  end=$((SECONDS + 30))
  until [ "$(receiver_of plant)" != "$plant" ]; do
    [ "$SECONDS" -lt "$end" ] || fail 'the receiver of plant does not come back'
    sleep 0.1
  done
  plant=$(receiver_of plant)
done
found office-goes-on 60
balanced plant "$sent"
died=$(listener plant syslog-udp | jq '.losses.receiver_died // 0')
[ "$died" -gt 0 ] || fail 'nothing died with the receivers of plant'
pass "with the receivers of plant died $died records"
same 'the receiver of office is the same' "$office" "$(receiver_of office)"
same 'it was never started again' 0 "$(status_json | jq '.processes[] | select(.name == "stele-receive@office") | .restarts')"
same 'its open connection is the same' 1 "$(listener office syslog-tcp | jq .connections)"
same 'it lost what it refused, and nothing else' '5 0' "$(zone office | jq -r '"\(.lost) \(.unknown_losses)"')"
same 'nothing of office is a possible duplicate' 0 "$(jq '[.rows[] | select((.flags // []) | index("possible_duplicate"))] | length' "$work/found.json")"

# 5. A flood in plant, as fast as one process can: office is served in time.
"$send" --udp "127.0.0.1:$(zone_port plant syslog-udp)" --count 400000 --seed 50 >"$work/sent.json" &
flood=$!
for i in $(seq 40); do printf '<13>1 - honest app 1 - - office-in-time at %s\n' "$(date +%s%N)" >&4; sleep 0.05; done
wait "$flood"
sent=$((sent + $(jq .sent "$work/sent.json")))
found office-in-time 40
jq -r '.rows[] | "\(.received // .time) \(.payload_b64 | @base64d)"' "$work/found.json" | while read -r stamp text; do
  echo $((($(date -d "$stamp" +%s%N) - ${text##*at }) / 1000000))
done | sort -n >"$work/latency"
slowest=$(tail -n 1 "$work/latency")
[ "$slowest" -lt 5000 ] || fail "office waited $slowest ms for its receiver"
pass "office was received under the flood after at most $slowest ms"
balanced plant "$sent"

# 6. A receiver that stands still, and loses what its socket cannot hold: the other one's records are stored.
kill -STOP "$plant"
"$send" --udp "127.0.0.1:$(zone_port plant syslog-udp)" --count 160000 --seed 60 >"$work/sent.json"
sent=$((sent + $(jq .sent "$work/sent.json")))
printf '<13>1 - honest app 1 - - while-plant-stands\n' >&4
found while-plant-stands 1
kill -CONT "$plant"
balanced plant "$sent"
[ "$(listener plant syslog-udp | jq '.losses.kernel_drop // 0')" -gt 0 ] || fail 'the socket of plant lost nothing'
same 'office still lost what it refused, and nothing else' '5 0' "$(zone office | jq -r '"\(.lost) \(.unknown_losses)"')"
exec 4>&-

# 7. SIGHUP: who may send and how much changes at once, another port is an alarm and waits for the next start.
lines_to_office() {  # one event, after a token where one is given
  { [ -z "${1:-}" ] || printf '{"auth":"%s"}\n' "$1"; printf '{"event":"by-json-lines"}\n'; sleep 1; } |
    openssl s_client -quiet -no_ign_eof -CAfile "$stele_dir/keys/ca.pem" \
      -connect "127.0.0.1:$(zone_port office json-lines-tls)" 2>/dev/null
}
lines_to_office | grep -q '"ack":1' || fail 'an event without a token is not taken though none is asked for'
sed -i -e 's/^allowed_sources = .*/allowed_sources = ["127.0.0.0\/8"]\nsource_records_per_s = 10\ntokens = ["0123456789abcdef"]/' \
  -e 's/^relp_port = 0/relp_port = 2514/' "$stele_dir/stele.toml"
kill -HUP "$stele_pid"
policies() { search 'kind:policy' | jq -c '[.rows[].payload_b64 | @base64d | fromjson | select(.event == "reload") | .at_next_start]'; }
end=$((SECONDS + 20))
until [ "$(policies)" = '[["zones.office.relp_port"]]' ]; do
  [ "$SECONDS" -lt "$end" ] || fail "the reload is not an entry that names the port: $(policies)"
  sleep 0.3
done
pass 'the reload is an entry and names the port that must wait'
same 'it is an alarm' 1 "$(search 'kind:alarm' | jq '[.rows[].payload_b64 | @base64d | fromjson | select(.alarm == "restart_needed")] | length')"
lines_to_office | grep -q unauthorized || fail 'an event without the new token is taken'
lines_to_office 0123456789abcdef | grep -q '"ack":1' || fail 'an event with the new token is not taken'
pass 'a token is asked for at once'
"$send" --udp "127.0.0.1:$(zone_port office syslog-udp)" --from 127.0.0.98 --count 500 --tag over-quota >/dev/null
end=$((SECONDS + 20))
until [ "$(listener office syslog-udp | jq '.losses.quota // 0')" -ge 400 ]; do
  [ "$SECONDS" -lt "$end" ] || fail "the new quota is not kept: $(listener office syslog-udp)"
  sleep 0.3
done
pass 'the new quota is kept, and a source that was refused is heard'
same 'nobody was started again for it' "$office" "$(receiver_of office)"

# The same numbers for a scraper, with the certificate made for it, which opens nothing else.
scrape() {  # scrape PATH: the status of the answer; its body is in $work/scraped
  curl -sS --max-time 20 -o "$work/scraped" -w '%{http_code}' --cacert "$stele_dir/keys/ca.pem" --cert "$stele_dir/keys/metrics.pem" \
    --key "$stele_dir/keys/metrics.key" "https://localhost:$(port_of viewer)$1"
}
same 'the metrics are served' 200 "$(scrape /metrics)"
same 'they end as OpenMetrics wants' '# EOF' "$(tail -n 1 "$work/scraped")"
lost=$(sed -n 's/^stele_listener_losses_total{zone="office",listener="syslog-udp",cause="quota"} //p' "$work/scraped")
[ "${lost:-0}" -ge 400 ] || fail "the metrics do not tell the office's losses: $(grep losses "$work/scraped")"
same 'the certificate opens nothing else' '403 403' "$(scrape /api/v1/status) $(scrape '/api/v1/search?q=')"

verify_says "$good_words"
succeeds 'stele up stops cleanly' stop_stele
verify_says "$good_words" "$work/s"

# 8. Wrong configurations end with the line.
refuses() {  # refuses WHAT LINE TEXT
  mkdir -p -m 0700 "$work/wrong"
  printf '%b' "$3" >"$work/wrong/stele.toml"
  exits_with "$1 ends the start" 2 "$stele_bin/stele" up --dir "$work/wrong"
  grep -q "stele.toml:$2: " "$work/out" || { cat "$work/out" >&2; fail "$1: line $2 is not named"; }
}
a='[[zones]]\nname = "a"\nsyslog_tcp_port = 5514\n' b='[[zones]]\nname = "b"\n'
refuses 'a name that is given twice' 5 "$a"'[[zones]]\nname = "a"\nrelp_port = 0\n'
refuses 'a port that is taken' 6 "$a$b"'relp_port = 5514\n'
refuses 'an unknown key' 6 "$a$b"'relp_prot = 0\n'
refuses 'a zone without a port' 4 "$a$b"
refuses 'a port of [ingest] beside zones' 2 '[ingest]\nrelp_port = 0\n'"$a"
refuses 'one zone too many' 97 "$(for i in $(seq 33); do printf '[[zones]]\\nname = "z%s"\\nrelp_port = 0\\n' "$i"; done)"
finish_test
