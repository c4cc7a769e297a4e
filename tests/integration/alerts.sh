#!/usr/bin/env bash
# Goal: every alarm of the log reaches a SIEM and a webhook, at least once and provably ours, whoever is down meanwhile and however
# often the courier is killed; nobody with a wrong certificate hears anything; a receiver that hangs keeps no record from being stored.
# Method: a real rsyslog with TLS that demands a client certificate, a small HTTPS server, SIGKILL, SIGSTOP; openssl for the signatures;
# the sequence numbers that arrived are compared with those of a search.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
begin_test
"$root/scripts/peers" >/dev/null 2>"$work/peers.err" || skip "no rsyslog: $(tail -n 1 "$work/peers.err")"
command -v python3 >/dev/null || skip 'no python3'
siem_port=$(free_port)
hook_port=$(free_port)
mkdir "$work/hook" "$work/siem"

# Two authorities; certificates for both receivers and for the courier are of the first.
authority() { openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=$1" -keyout "$work/$1.key" -out "$work/$1.pem" 2>/dev/null; }
issue() {
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$1" -keyout "$work/$1.key" -out "$work/$1.csr" 2>/dev/null
  openssl x509 -req -in "$work/$1.csr" -CA "$work/ca.pem" -CAkey "$work/ca.key" -CAcreateserial -days 2 -out "$work/$1.pem" \
    -extfile <(printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\n') 2>/dev/null
}
authority ca; authority stranger; issue receiver; issue courier

stele_more_toml="[processes]
restart_delay_max_ms = 100
[[sources.named]]
name = \"probe\"
address = \"127.0.0.1\"
[alerts]
alarm_after_s = 3
retry_max_s = 1
viewer_url = \"https://stele.example.org:9443\"
[[alerts.flows]]
name = \"soc\"
to = \"syslog-tls://localhost:$siem_port\"
ca = \"$work/ca.pem\"
certificate = \"$work/courier.pem\"
key = \"$work/courier.key\"
receipts = true
sources = [\"probe\"]
[[alerts.flows]]
name = \"hook\"
to = \"https://localhost:$hook_port/stele\"
ca = \"$work/ca.pem\"
receipts = true
[[alerts.flows]]
name = \"wrong\"
to = \"https://localhost:$hook_port/wrong\"
ca = \"$work/stranger.pem\""

start_siem() {
  local peers="$root/build/peers"
  cat >"$work/siem/siem.conf" <<CONF
global(workDirectory="$work/siem" net.enableDNS="off" maxMessageSize="64k" defaultNetstreamDriverCAFile="$work/ca.pem"
       defaultNetstreamDriverCertFile="$work/receiver.pem" defaultNetstreamDriverKeyFile="$work/receiver.key")
module(load="imtcp" StreamDriver.Name="ossl" StreamDriver.Mode="1" StreamDriver.AuthMode="x509/certvalid")
input(type="imtcp" address="127.0.0.1" port="$siem_port")
template(name="line" type="list") {
  property(name="msgid") constant(value="\t") property(name="structured-data") constant(value="\t") property(name="msg") constant(value="\n")
}
action(type="omfile" file="$work/siem/out" template="line")
CONF
  LD_LIBRARY_PATH=$(cat "$peers/library-path") "$peers/root/usr/sbin/rsyslogd" -n -C -M "$peers/root/usr/lib/$(cat "$peers/triplet")/rsyslog" \
    -f "$work/siem/siem.conf" -i "$work/siem/pid" >"$work/siem/log" 2>&1 &
  siem_pid=$!
  wait_for_port "$siem_port" 20 || { cat "$work/siem/log" >&2; fail 'rsyslog did not start'; }
}
start_hook() {
  python3 "$here/alerts_receiver.py" "$hook_port" "$work/receiver.pem" "$work/receiver.key" "$work/hook" >"$work/hook.log" 2>&1 &
  hook_pid=$!
  wait_for_port "$hook_port" 20 || { cat "$work/hook.log" >&2; fail 'the HTTPS server did not start'; }
}

alarms=0
raise_alarm() {  # a configuration that is wrong is an alarm
  alarms=$((alarms + 1))
  printf '[wrong_%s]\n' "$alarms" >>"$stele_dir/stele.toml"
  kill -HUP "$stele_pid"
  found "kind:alarm wrong_$alarms" 1
  cp "$work/good.toml" "$stele_dir/stele.toml"
}
kill_courier() {
  local pid=''
  until pid=$(pid_of stele-courier) && [ -n "$pid" ]; do sleep 0.05; done
  kill -KILL "$pid"
}
flow() { status_json | jq -r --arg name "$1" ".alerts.flows[]? | select(.name == \$name) | $2"; }
await() {  # await WHAT EXPECTED COMMAND...
  local what=$1 expected=$2 end=$((SECONDS + 20)) got=''; shift 2
  until got=$("$@" 2>/dev/null) && [ "$got" = "$expected" ]; do
    [ "$SECONDS" -lt "$end" ] || { status_json | jq .alerts >&2; fail "$what: '$got', not '$expected'"; }
    sleep 0.2
  done
  pass "$what: $expected"
}
logged() { search 'kind:alarm' | jq '.rows[].seq' | sort -u; }
at_hook() { jq .seq "$work"/hook/*.body 2>/dev/null | sort -u; }
at_siem() { awk -F '\t' '$1 == "alarm"' "$work/siem/out" 2>/dev/null | grep -o 'seq="[0-9]*"' | tr -dc '0-9\n' | sort -u; }
missing() { comm -23 <(logged) <("$1") | wc -l; }

start_stele "$work/s"
cp "$stele_dir/stele.toml" "$work/good.toml"

# Nobody is there yet.
raise_alarm
await 'the webhook is missed' failing flow hook .state
await 'the SIEM is missed' failing flow soc .state
kill_courier
raise_alarm

# They come, and the courier is killed while it delivers.
start_siem; start_hook
for _ in 1 2 3; do raise_alarm; kill_courier; done
raise_alarm
await 'alarms the webhook has not got' 0 missing at_hook
await 'alarms the SIEM has not got' 0 missing at_siem
at_hook >"$work/arrived"
wait_checkpointed
same 'the webhook has no other entries' '' "$(comm -13 <(logged) "$work/arrived")"

# One receiver dies and comes back.
kill -KILL "$hook_pid"; wait "$hook_pid" 2>/dev/null || true
raise_alarm
await 'the webhook is missed again' failing flow hook .state
hook_metric() { metric "stele_alert_flow_$1{flow=\"hook\"}"; }
same 'a scraper is told that it fails' 1 "$(hook_metric failing)"
same 'and since when' "$(date -u -d "$(flow hook .failing_since)" +%s)" "$(hook_metric failing_since_seconds)"
[ "$(hook_metric pending_records)" -gt 0 ] || fail 'a scraper is not told that entries wait'
start_hook
await 'and has all of them when it is back' 0 missing at_hook
await 'a scraper is told' 0 hook_metric failing
await 'entries that wait' 0 hook_metric pending_records

# What arrived is ours.
signed() {
  local body bad=0
  for body in "$work"/hook/*.body; do
    base64 -d "${body%.body}.signature" >"$work/signature"
    openssl pkeyutl -verify -pubin -inkey "$stele_dir/keys/alerts.pub.pem" -rawin -in "$body" -sigfile "$work/signature" >/dev/null 2>&1 || bad=$((bad + 1))
  done
  echo "$bad"
}
same 'openssl accepts every signature' 0 "$(signed)"
body=$(ls "$work"/hook/*.body | head -n 1)
cp "$body" "$work/altered"; printf ' ' >>"$work/altered"
base64 -d "${body%.body}.signature" >"$work/signature"
exits_with 'but not of another body' 1 openssl pkeyutl -verify -pubin -inkey "$stele_dir/keys/alerts.pub.pem" -rawin -in "$work/altered" -sigfile "$work/signature"
grep -qF "$(sed -n 2p "$stele_dir/keys/alerts.pub.pem")" <(stele_cli status) || fail 'the status does not show the key'
pass 'the status shows the key'
seq=$(jq .seq "$body")
same 'it names its proof' "https://stele.example.org:9443/api/v1/proof/$seq" "$(jq -r .proof_url "$body")"
same 'and holds the payload of the log' "$(search "kind:alarm seq:$seq" | jq -r '.rows[0].payload_b64')" "$(jq -r .payload_b64 "$body")"
succeeds 'which stele can prove' stele_cli show "$seq" --proof -o "$work/proof"
jq -r .checkpoint "$(ls -t "$work"/hook/*.body | head -n 1)" >"$work/receipt"
check_note_signature "$work/receipt" "$work/proof/log.vkey" "$work/receipt" || fail 'the receipt is not signed by the log'
pass 'the receipt is a checkpoint of the log'
grep -q '^checkpoint' "$work/siem/out" || fail 'the SIEM has no receipt'
log_id=$(jq -r .log_id "$stele_dir/run/ready.json")
grep -qF "[stele@32473 log=\"$log_id\" seq=\"$seq\" kind=\"alarm\" alarm=\"$(jq -r .alarm.alarm "$body")\" zone=\"\"]" "$work/siem/out" ||
  { cat "$work/siem/out" >&2; fail 'the SIEM has not the structured data'; }
pass 'the SIEM has log, sequence number, alarm and zone'

# Who cannot prove who he is hears nothing, and that is one alarm.
await 'a wrong certificate is refused' failing flow wrong .state
flow wrong .text | grep -q certificate || fail "not because of the certificate: $(flow wrong .text)"
same 'nothing was posted there' '' "$(grep -lx '/wrong' "$work"/hook/*.path || true)"
found 'kind:alarm alerts_undelivered "flow wrong"' 1
kill_courier
await 'the courier is back' failing flow wrong .state

# Records of a chosen source go to the SIEM, and are a read on the record; a SIEM that hangs keeps nothing from being stored.
"$send" --tcp "127.0.0.1:$(port_of syslog-tcp)" --count 50 --tag before --seed 1 >/dev/null
at_siem_records() { grep -c '^record.*source="probe"' "$work/siem/out"; }
await 'records of the source at the SIEM' 50 at_siem_records
[ "$(search 'kind:access stele-courier feed' | jq '.rows | length')" -ge 1 ] || fail 'no access entry says that records left'
pass 'an access entry says that records left'
kill -STOP "$siem_pid"
"$send" --tcp "127.0.0.1:$(port_of syslog-tcp)" --count 20000 --tag during --seed 2 >/dev/null
succeeds 'records are stored while the SIEM hangs' wait_stored syslog-tcp 20050 20
kill -CONT "$siem_pid"
same 'one alarm about the wrong certificate is enough' 1 "$(search 'kind:alarm alerts_undelivered "flow wrong"' | jq '.rows | length')"
same 'the courier holds nothing of the store' '' "$(ls -l "/proc/$(pid_of stele-courier)/fd" | grep store || true)"
succeeds 'a clean stop' stop_stele
finish_test
