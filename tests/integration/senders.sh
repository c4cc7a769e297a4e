#!/usr/bin/env bash
# Goal: what common senders send is stored, found by `stele search`, and provable with stock tools.
# Method: logger over UDP and TCP, curl and openssl s_client with JSON over HTTPS, a real rsyslog that forwards over TCP, a real syslog-ng with
# its drivers network() and syslog(), a real systemd-journald that forwards through rsyslog. (TLS: tls.sh; omrelp: relp.sh.)
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
. "$root/scripts/lib/devices.sh"
begin_test
start_stele "$work/s"
udp=$(port_of syslog-udp) tcp=$(port_of syslog-tcp) https=$(port_of https-json)

logger -n 127.0.0.1 -P "$udp" -d --rfc5424=notq -t udptest -p auth.warning 'the word is kestrel-udp'
found kestrel-udp 1
same 'transport' udp "$(jq -r '.rows[0].source.transport' "$work/found.json")"
same 'severity' 4 "$(jq -r '.rows[0].severity' "$work/found.json")"
same 'application' udptest "$(jq -r '.rows[0].app' "$work/found.json")"

logger -n 127.0.0.1 -P "$tcp" -T --rfc3164 -t tcptest 'the word is kestrel-tcp-lines'
found kestrel-tcp-lines 1
same 'format' rfc3164 "$(jq -r '.rows[0].format' "$work/found.json")"
logger -n 127.0.0.1 -P "$tcp" -T --octet-count -t tcptest 'the word is kestrel-tcp-counted'
found kestrel-tcp-counted 1

printf '%s\n' '{"event":"door opened","badge":"kestrel-json","n":1}' '{"event":"door closed","badge":"kestrel-json","n":2}' \
  >"$work/events"
post_events "$work/events" >"$work/answer"
found kestrel-json 2
same 'curl was told the sequence numbers' "$(jq -c '[.rows[].seq] | sort | [[.[0], .[-1]]]' "$work/found.json")" \
  "$(jq -c .ranges "$work/answer")"
first=$(jq -r '.ranges[0][0]' "$work/answer")
stele_cli show "$first" --raw >"$work/raw"
same 'the payload is the line as posted' "$(head -n 1 "$work/events")" "$(cat "$work/raw")"

body='{"event":"posted by hand","badge":"kestrel-openssl"}'
{ printf 'POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s' \
    "${#body}" "$body"; sleep 3; } |
  openssl s_client -quiet -verify_return_error -CAfile "$stele_dir/keys/ca.pem" -servername localhost \
    -connect "127.0.0.1:$https" >"$work/answer" 2>"$work/s_client.err" || true
same 'openssl s_client is answered' 'HTTP/1.1 200 OK' "$(head -n 1 "$work/answer" | tr -d '\r')"
found kestrel-openssl 1

exits_with 'TLS 1.1 is refused' 1 openssl s_client -tls1_1 -cipher 'ALL:@SECLEVEL=0' -connect "127.0.0.1:$https" </dev/null

if "$root/scripts/peers" >/dev/null 2>"$work/peers.err"; then
  start_forwarder "$work/forwarder" "$tcp"
  logger -u "$work/forwarder/log" -t forwarded 'the word is kestrel-rsyslog'
  found kestrel-rsyslog 1
  same 'host as rsyslog wrote it' forwarder "$(jq -r '.rows[0].host' "$work/found.json")"
  stop_process "$forwarder_pid"

  for driver in network-tcp network-udp syslog-tcp; do
    to=$tcp
    [ "$driver" != network-udp ] || to=$udp
    start_syslog_ng_relay "$work/$driver" "$driver" "$to"
    logger -u "$work/$driver/log" -t relayed -p local3.err "the word is kestrel-$driver"
    found "kestrel-$driver" 1
    same "syslog-ng $driver: severity, application" '3 relayed' "$(jq -r '.rows[0] | "\(.severity) \(.app)"' "$work/found.json")"
    stop_process "$relay_pid"
  done

  if [ "$(id -u)" != 0 ] || [ ! -x /lib/systemd/systemd-journald ]; then
    warn 'no root or no systemd-journald: that part was left out'
  elif ! unshare --mount true 2>/dev/null; then
    warn 'no private mount namespace can be made here: systemd-journald was left out'
  else
    start_journal_device "$work/journal" "$udp"
    in_journal logger -u /run/systemd/journal/dev-log -t journaled -p auth.crit 'the word is kestrel-dev-log'
    in_journal systemd-cat -t unit-output -p warning echo 'the word is kestrel-stdout'
    printf 'MESSAGE=the word is kestrel-native\nPRIORITY=5\nSYSLOG_IDENTIFIER=native\n' | in_journal logger --journald
    found kestrel-dev-log 1
    same 'journald, /dev/log: severity, application, host' '2 journaled journaled' "$(jq -r '.rows[0] | "\(.severity) \(.app) \(.host)"' "$work/found.json")"
    found kestrel-stdout 1
    same 'journald, a unit that writes to stdout' '4 unit-output' "$(jq -r '.rows[0] | "\(.severity) \(.app)"' "$work/found.json")"
    found kestrel-native 1
    same 'journald, native protocol' '5 native' "$(jq -r '.rows[0] | "\(.severity) \(.app)"' "$work/found.json")"
    in_journal journalctl --quiet --no-pager -o cat >"$work/journal.txt"
    same 'the journal itself has them too' 3 "$(grep -c kestrel- "$work/journal.txt")"
    stop_process "$journal_pid"
  fi
else
  warn "rsyslog and syslog-ng could not be fetched; that part was left out: $(tail -n 1 "$work/peers.err")"
fi

sleep 1.2  # the counters are told once a second
before=$(stored_by syslog-udp)
"$send" --file "$root/tests/data/devices.log" --udp "127.0.0.1:$udp" --rate 200 >/dev/null
wait_stored syslog-udp $((before + 40)) 20 || fail 'a line of tests/data/devices.log is missing'
pass 'all 40 device lines are stored'
found 'kind:loss' 0

wait_checkpointed
found kestrel-udp 1
seq=$(jq -r '.rows[0].seq' "$work/found.json")
succeeds "show $seq --proof -o" stele_cli show "$seq" --proof -o "$work/evidence"
check_evidence "$work/evidence" "$seq"
verify_says "$good_words"
alive
succeeds 'stele up stops cleanly' stop_stele
verify_says "$good_words" "$work/s"
finish_test
