#!/usr/bin/env bash
# Goal: the site's own certificate serves every TLS listener, its near end is an alarm, a new one is taken over by SIGHUP; and TLS 1.2 is
# spoken where it is allowed, with authenticated encryption only.
# Method: a certificate with an intermediate authority that ends tomorrow; curl, rsyslog (gtls, which brings no TLS 1.3 by itself) and
# openssl s_client as senders.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
. "$root/scripts/lib/devices.sh"
begin_test

new_key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1" 2>/dev/null; chmod 600 "$1"; }
signed() {  # signed NAME SUBJECT SIGNER DAYS EXTENSIONS
  new_key "$work/$1.key"
  openssl req -new -key "$work/$1.key" -subj "$2" -out "$work/$1.csr"
  openssl x509 -req -in "$work/$1.csr" -CA "$work/$3.pem" -CAkey "$work/$3.key" -days "$4" -extfile <(printf '%s\n' "$5") -out "$work/$1.pem" 2>/dev/null
}
new_key "$work/site.key"
openssl req -x509 -key "$work/site.key" -subj '/CN=site authority' -days 30 -out "$work/site.pem"
signed middle '/CN=site intermediate' site 30 'basicConstraints=critical,CA:TRUE'
server() { signed server '/CN=localhost' middle "$1" 'subjectAltName=DNS:localhost,IP:127.0.0.1'; cat "$work/server.pem" "$work/middle.pem" >"$work/chain.pem"; }
server 1

stele_ingest_toml="tls_certificate = \"$work/chain.pem\"
tls_key = \"$work/server.key\"
tls_min = \"1.2\"
relp_tls_port = 0"
start_stele "$work/s"
shown() { openssl s_client -connect "127.0.0.1:$(port_of "$1")" </dev/null 2>/dev/null | openssl x509 -noout -fingerprint -sha256; }
trusted() {  # trusted LISTENER: the chain leads to the site's authority, and the name is right
  openssl s_client -connect "127.0.0.1:$(port_of "$1")" -CAfile "$work/site.pem" -verify_return_error -verify_hostname localhost </dev/null >/dev/null 2>&1
}
mine=$(openssl x509 -in "$work/server.pem" -noout -fingerprint -sha256)
for listener in syslog-tls json-lines-tls relp-tls https-json; do
  same "$listener shows it" "$mine" "$(shown "$listener")"
  succeeds "$listener sends the whole chain" trusted "$listener"
done
printf '{"w":"siskin-curl"}\n' >"$work/event"
curl -sS --fail --cacert "$work/site.pem" -H 'Content-Type: application/x-ndjson' --data-binary "@$work/event" \
  "https://localhost:$(port_of https-json)/v1/events" >/dev/null || fail 'curl does not trust it'
found siskin-curl 1

# Its end.
found 'kind:alarm certificate_ends' 1
payload=$(jq -r '.rows[0].payload_b64' "$work/found.json" | base64 -d)
grep -q "$work/chain.pem ends in" <<<"$payload" || fail "the alarm does not name the file: $payload"
grep -q 'SIGHUP' <<<"$payload" || fail "the alarm does not say what to do: $payload"
pass "the alarm says: $(jq -r .text <<<"$payload")"
same 'status shows it' certificate_ends "$(status_json | jq -r '[.alarms[].alarm] | map(select(. == "certificate_ends"))[0]')"
same 'status knows when' "$(date -d "$(openssl x509 -in "$work/server.pem" -noout -enddate | cut -d= -f2)" +%s)" \
  "$(status_json | jq '.listeners[] | select(.name == "syslog-tls") | .tls.not_after_s')"
server 400
kill -HUP "$stele_pid"
end=$((SECONDS + 10))
until [ "$(shown syslog-tls)" = "$(openssl x509 -in "$work/server.pem" -noout -fingerprint -sha256)" ]; do
  [ "$SECONDS" -lt "$end" ] || fail 'SIGHUP brought no new certificate'
  sleep 0.2
done
pass 'SIGHUP brought the new certificate'
sleep 1.2
same 'status knows its end' "$(date -d "$(openssl x509 -in "$work/server.pem" -noout -enddate | cut -d= -f2)" +%s)" \
  "$(status_json | jq '.listeners[] | select(.name == "syslog-tls") | .tls.not_after_s')"

# TLS 1.2, where it is allowed (tls.sh: it is refused where it is not).
tls=$(port_of syslog-tls)
over_tls12() {  # over_tls12 WORD CIPHER
  local message="<13>1 - probe test 1 - - $1"
  printf '%d %s' "${#message}" "$message" |
    openssl s_client -quiet -nocommands -no_ign_eof -tls1_2 -cipher "$2" -CAfile "$work/site.pem" -verify_return_error -connect "127.0.0.1:$tls" >/dev/null 2>&1
}
over_tls12 siskin-gcm ECDHE-ECDSA-AES128-GCM-SHA256 || true
found siskin-gcm 1
over_tls12 siskin-chacha ECDHE-ECDSA-CHACHA20-POLY1305 || true
found siskin-chacha 1
for cipher in ECDHE-ECDSA-AES128-SHA256 ECDHE-ECDSA-AES256-SHA ECDHE-ECDSA-AES128-CCM8; do
  exits_with "TLS 1.2 with $cipher is refused" 1 over_tls12 siskin-cbc "$cipher:@SECLEVEL=0"
done
exits_with 'TLS 1.1 is refused' 1 openssl s_client -tls1_1 -cipher 'ALL:@SECLEVEL=0' -connect "127.0.0.1:$tls" </dev/null
if "$root/scripts/peers" >/dev/null 2>"$work/peers.err"; then
  start_forwarder "$work/tls12" "$tls" gtls12 '' '' "$work/site.pem"
  logger -u "$work/tls12/log" -t forwarded 'the word is siskin-rsyslog'
  found siskin-rsyslog 1
  stop_process "$forwarder_pid"
else
  warn "rsyslog could not be fetched; that part was left out: $(tail -n 1 "$work/peers.err")"
fi
same 'nothing of the refused is stored' 0 "$(search siskin-cbc | jq '.rows | length')"

# A private key that others may read is no private key.
chmod 644 "$work/server.key"
stop_stele || fail 'stele up did not stop cleanly'
exits_with 'a key that others can read ends the start' 2 "$stele_bin/stele" up --dir "$work/s"
grep -q 'can be read by others' "$work/out" || fail "the reason is not named: $(cat "$work/out")"
chmod 600 "$work/server.key"
verify_says "$good_words" "$work/s"
finish_test
