#!/usr/bin/env bash
# Goal: real senders over TLS are stored under their own identity; who may not send is kept out and holds up nobody.
# Method: rsyslog with both its TLS drivers, syslog-ng and openssl s_client against two Steles: one that asks for no client
# certificate, one that requires it. Hostile: plain text, silence, TLS 1.1, wrong authority, expired certificate.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
. "$root/scripts/lib/devices.sh"
begin_test
peers_here=1
"$root/scripts/peers" >/dev/null 2>"$work/peers.err" || { peers_here=0; warn "no rsyslog and syslog-ng: $(tail -n 1 "$work/peers.err")"; }

# Certificates of senders: an authority, two of its certificates, one of them over; and a stranger's.
make_authority() { openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$1.key" -out "$1.pem" -subj "/CN=$2" -days 30 2>/dev/null; }
make_sender() {  # make_sender FILE AUTHORITY NAME DAYS
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$1.key" -out "$1.csr" -subj "/CN=$3" \
    -addext "subjectAltName=DNS:$3.example.org" 2>/dev/null
  openssl x509 -req -in "$1.csr" -CA "$2.pem" -CAkey "$2.key" -days "$4" -copy_extensions copy -out "$1.pem" 2>/dev/null
}
make_authority "$work/ca" senders
make_authority "$work/stranger-ca" senders
make_sender "$work/forwarder" "$work/ca" forwarder 30
make_sender "$work/other" "$work/ca" other 30
make_sender "$work/over" "$work/ca" over -1
make_sender "$work/stranger" "$work/stranger-ca" forwarder 30
counted() { printf '%d %s' "$(printf %s "$1" | wc -c)" "$1"; }
message() { counted "<13>1 2026-11-21T06:00:00Z $1 test 1 - - $2"; }

say '--- no client certificates'
start_stele "$work/s"
tls=$(port_of syslog-tls)
message probe kestrel-openssl | tls_client syslog-tls -no_ign_eof >/dev/null
found kestrel-openssl 1
same 'transport' tls "$(jq -r '.rows[0].source.transport' "$work/found.json")"
same 'no identity' null "$(jq -r '.rows[0].source.identity' "$work/found.json")"
if [ "$peers_here" = 1 ]; then
  for driver in ossl gtls; do
    start_forwarder "$work/$driver" "$tls" "$driver"
    for i in 1 2 3; do logger -u "$work/$driver/log" -t forwarded "the word is kestrel-$driver $i"; done
    found "kestrel-$driver" 3
    stop_process "$forwarder_pid"
  done
  start_syslog_ng_relay "$work/ng" syslog-tls "$tls"
  logger -u "$work/ng/log" -t forwarded 'the word is kestrel-syslog-ng'
  found kestrel-syslog-ng 1
  stop_process "$relay_pid"
fi
printf '%s\n' '{"w":"corncrake","n":1}' 'no corncrake' '{"w":"corncrake","n":3}' >"$work/events"
succeeds 'three JSON lines are acknowledged' json_lines "$work/events" 3
same 'the line that is not JSON is named' 2 "$(jq -s '[.[].unparsed[]] | .[0]' "$work/lines.answer")"
found corncrake 3
first=$(jq -s '.[0].ranges[0][0]' "$work/lines.answer")
same 'the payload is the line' '{"w":"corncrake","n":1}' "$(stele_cli show "$first" --raw)"

say '--- hostile'
exits_with 'TLS 1.1 is refused' 1 openssl s_client -tls1_1 -cipher 'ALL:@SECLEVEL=0' -connect "127.0.0.1:$tls" </dev/null
exits_with 'TLS 1.2 is refused where it is not allowed' 1 openssl s_client -tls1_2 -connect "127.0.0.1:$tls" </dev/null
printf '<13>1 - - - - - - plain-text\n' >"/dev/tcp/127.0.0.1/$tls"
head -c 65536 /dev/urandom | { cat >"/dev/tcp/127.0.0.1/$tls"; } 2>/dev/null || true
for last in 2 3 4; do
  "$send" --tcp "127.0.0.1:$tls" --from "127.0.0.$last" --connections 200 --count 0 --hold 6000 >/dev/null & silent+=($!)
done
sleep 1
started=$SECONDS
message probe kestrel-beside-silence | tls_client syslog-tls -no_ign_eof >/dev/null
found kestrel-beside-silence 1 6
pass "an honest sender was served beside 600 silent connections in $((SECONDS - started)) s"
wait "${silent[@]}"
failed=$(status_json | jq '.listeners[] | select(.name == "syslog-tls") | .tls.handshakes_failed')
[ "$failed" -ge 4 ] || fail "only $failed failed handshakes are counted"
pass "failed handshakes are counted: $failed"
same 'plain text left no record' 0 "$(search plain-text | jq '.rows | length')"

say '--- a new certificate without a restart'
shown() { openssl s_client -connect "127.0.0.1:$tls" </dev/null 2>/dev/null | openssl x509 -noout -fingerprint -sha256; }
ends=$(status_json | jq '.listeners[] | select(.name == "syslog-tls") | .tls.not_after_s')
same 'status knows the end of the certificate' "$(date -d "$(openssl x509 -in "$stele_dir/keys/ingest.pem" -noout -enddate | cut -d= -f2)" +%s)" "$ends"
receiver=$(pid_of stele-receive) before=$(shown)
mkfifo "$work/slow"
tls_client syslog-tls -no_ign_eof <"$work/slow" >/dev/null 2>&1 & old=$!
exec 5>"$work/slow"
message probe kestrel-before-reload >&5
found kestrel-before-reload 1
rm "$stele_dir/keys/ingest.pem" "$stele_dir/keys/ingest.key"
kill -HUP "$stele_pid"
end=$((SECONDS + 10))
until [ "$(shown)" != "$before" ]; do [ "$SECONDS" -lt "$end" ] || fail 'SIGHUP brought no new certificate'; sleep 0.2; done
same 'the new certificate is the one in keys' "$(openssl x509 -in "$stele_dir/keys/ingest.pem" -noout -fingerprint -sha256)" "$(shown)"
message probe kestrel-after-reload >&5
found kestrel-after-reload 1
exec 5>&-
wait "$old" || true
message probe kestrel-new-certificate | tls_client syslog-tls -no_ign_eof >/dev/null
found kestrel-new-certificate 1
post_events "$work/events" >/dev/null
same 'the receiver was not restarted' "$receiver" "$(pid_of stele-receive)"
alive
succeeds 'stele up stops cleanly' stop_stele
verify_says "$good_words" "$work/s"

say '--- client certificates required'
cp "$work/ca.pem" "$work/forwarder.pem" "$work/forwarder.key" "$work"/ 2>/dev/null || true
stele_ingest_toml="tls_client_auth = \"require\"
tls_client_ca = \"$work/ca.pem\"
tokens = [\"0123456789abcdef\"]"
start_stele "$work/r"
refused() {  # refused WHAT WORD [ARGUMENT...]: nothing of it is stored
  local what=$1 word=$2; shift 2
  { message forwarder "$word"; sleep 1; } | tls_client syslog-tls -no_ign_eof "$@" >/dev/null 2>&1 || true
  same "$what: refused" 0 "$(search "$word" | jq '.rows | length')"
}
refused 'no certificate' wren-none
refused 'an authority of the same name' wren-stranger -cert "$work/stranger.pem" -key "$work/stranger.key"
refused 'an expired certificate' wren-over -cert "$work/over.pem" -key "$work/over.key"
same 'each is counted' 3 "$(sleep 1.2; status_json | jq '.listeners[] | select(.name == "syslog-tls") | .tls.handshakes_failed')"
{ message forwarder.example.org wren-one; message FORWARDER wren-two; message elsewhere wren-three; } |
  tls_client syslog-tls -no_ign_eof -cert "$work/forwarder.pem" -key "$work/forwarder.key" >/dev/null
found wren-three 1
same 'a host that the certificate does not name is flagged' identity_mismatch "$(jq -r '.rows[0].flags[]' "$work/found.json")"
same 'the identity is the certificate' \
  "sha256:$(openssl x509 -in "$work/forwarder.pem" -noout -fingerprint -sha256 | cut -d= -f2 | tr -d : | tr A-F a-f) forwarder forwarder.example.org" \
  "$(jq -r '.rows[0].source.identity | "\(.fingerprint) \(.cn) \(.dns[0])"' "$work/found.json")"
found wren-one 1
same 'one that it names is not' 0 "$(jq '.rows[0].flags | length' "$work/found.json")"
found wren-two 1
same 'nor is its first label' 0 "$(jq '.rows[0].flags | length' "$work/found.json")"
source=$(jq '.rows[0].source.id' "$work/found.json")
message other wren-other | tls_client syslog-tls -no_ign_eof -cert "$work/other.pem" -key "$work/other.key" >/dev/null
found wren-other 1
[ "$(jq '.rows[0].source.id' "$work/found.json")" != "$source" ] || fail 'two certificates are one source'
pass 'two certificates from one address are two sources'
if [ "$peers_here" = 1 ]; then
  for driver in ossl gtls; do
    start_forwarder "$work/r-$driver" "$(port_of syslog-tls)" "$driver" "$work/forwarder.pem" "$work/forwarder.key"
    logger -u "$work/r-$driver/log" -t forwarded "the word is wren-$driver"
    found "wren-$driver" 1
    same "rsyslog $driver: source" "$source" "$(jq '.rows[0].source.id' "$work/found.json")"
    same "rsyslog $driver: its host is named" 0 "$(jq '.rows[0].flags | length' "$work/found.json")"
    stop_process "$forwarder_pid"
  done
  start_syslog_ng_relay "$work/r-ng" syslog-tls "$(port_of syslog-tls)" "$work/forwarder.pem" "$work/forwarder.key"
  logger -u "$work/r-ng/log" -t forwarded 'the word is wren-syslog-ng'
  found wren-syslog-ng 1
  same 'syslog-ng: source' "$source" "$(jq '.rows[0].source.id' "$work/found.json")"
  stop_process "$relay_pid"
fi
succeeds 'JSON lines with a certificate need no token' json_lines "$work/events" 3 -cert "$work/forwarder.pem" -key "$work/forwarder.key"
alive
succeeds 'stele up stops cleanly' stop_stele
verify_says "$good_words" "$work/r"

say '--- what cannot be started'
printf '[ingest]\ntls_client_auth = "require"\n' >"$work/r/stele.toml"
exits_with 'authentication without anybody to trust' 2 "$stele_bin/stele" up --dir "$work/r"
finish_test
