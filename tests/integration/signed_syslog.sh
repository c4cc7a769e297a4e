#!/usr/bin/env bash
# Goal: signed syslog (RFC 5848) is judged by the registered key, found by its flag, and an altered message is an alarm.
# Method: a signer of stock tools: openssl makes the DSA key, hashes the messages and signs the blocks; everything goes over
# TCP to a real `stele up`, once as it was signed and once with a message changed on the way.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
begin_test

openssl genpkey -genparam -algorithm DSA -pkeyopt dsa_paramgen_bits:2048 -pkeyopt dsa_paramgen_q_bits:256 \
  -out "$work/dsa.params" 2>/dev/null || skip 'this openssl makes no DSA parameters'
openssl genpkey -paramfile "$work/dsa.params" -out "$work/signer.pem"
openssl pkey -in "$work/signer.pem" -pubout -out "$work/signer.pub"

# mpi HEX: an OpenPGP integer, as hexadecimal. The number may begin with zero octets.
mpi() {
  local hex=$1
  while [ "${hex:0:2}" = 00 ]; do hex=${hex:2}; done
  printf '%04x%s' $((${#hex} * 4)) "$hex"
}

# signature_of TEXT: r and s as RFC 5848 wants them, in base64. openssl gives DER: 30 len 02 len r 02 len s.
signature_of() {
  local der r_bytes r s_at s
  printf '%s' "$1" | openssl dgst -sha256 -sign "$work/signer.pem" -out "$work/signature"
  der=$(hex_of_file "$work/signature")
  r_bytes=$((16#${der:6:2}))
  r=${der:8:$((r_bytes * 2))}
  s_at=$((8 + r_bytes * 2 + 4))
  s=${der:$s_at}
  bytes_of_hex "$(mpi "$r")$(mpi "$s")" | base64 -w0
}

# signed HEAD ELEMENT: a block message; the element comes without its closing bracket.
signed() { printf '%s SIGN="%s"]' "$1$2" "$(signature_of "$1$2]")"; }

head='<110>1 2026-11-21T06:00:00Z switch-1 syslogd 2138 - '
common='VER="0121" RSID="1" SG="0" SPRI="0"'

# signature_block GBC FMN MESSAGE...
signature_block() {
  local gbc=$1 fmn=$2 hashes='' message; shift 2
  for message in "$@"; do
    hashes+="${hashes:+ }$(printf '%s' "$message" | openssl dgst -sha256 -binary | base64 -w0)"
  done
  signed "$head" "[ssign $common GBC=\"$gbc\" FMN=\"$fmn\" CNT=\"$#\" HB=\"$hashes\""
}

# certificate_block: the public key as its Payload Block, in one fragment.
certificate_block() {
  local payload
  payload="2026-11-21T06:00:00Z K $(openssl pkey -pubin -in "$work/signer.pub" -outform DER | base64 -w0)"
  signed "$head" "[ssign-cert $common TPBL=\"${#payload}\" INDEX=\"1\" FLEN=\"${#payload}\" FRAG=\"$payload\""
}

message() { printf '<13>1 2026-11-21T06:00:0%sZ switch-1 linkd - - - %s' "$1" "$2"; }

# send FRAME...: octet-counted, over one connection.
send_counted() {
  local one
  for one in "$@"; do printf '%d %s' "${#one}" "$one"; done >"/dev/tcp/127.0.0.1/$(port_of syslog-tcp)"
}

stele_ingest_toml="
[[ingest.syslog_keys]]
name = \"core switch\"
host = \"switch-1\"
public_key = '''
$(cat "$work/signer.pub")
'''"
start_stele "$work/s"

first=$(message 1 'port 1 is down: kestrel-one') second=$(message 2 'port 2 is down: kestrel-two')
block=$(signature_block 0 1 "$first" "$second")
send_counted "$(certificate_block)" "$first" "$second" "$block"
found 'flag:signature_valid' 2
stele_cli show "$(jq -r '[.rows[].seq] | max' "$work/found.json")" --raw >"$work/raw"
same 'the block is stored as it came' "$block" "$(cat "$work/raw")"
found kestrel-one 1
same 'a message has no verdict of its own' '[]' "$(jq -c '.rows[0].flags // []' "$work/found.json")"

third=$(message 3 'port 3 is down: kestrel-three') fourth=$(message 4 'port 4 is down: kestrel-four')
block=$(signature_block 1 3 "$third" "$fourth")
send_counted "$third" "${fourth/down/up!!}" "$block"
found 'flag:signature_valid' 3
found 'kind:alarm' 1 30
stele_cli show "$(jq -r '.rows[0].seq' "$work/found.json")" --raw >"$work/alarm.json"
same 'the alarm' signed_syslog "$(jq -r .alarm "$work/alarm.json")"
same 'messages missing as they were signed' 1 "$(jq -r .missing "$work/alarm.json")"
same 'which number it had' '[4,4]' "$(jq -c '.ranges[0].numbers' "$work/alarm.json")"
same 'which key vouches' 'core switch' "$(jq -r .key "$work/alarm.json")"
same 'the status shows it' signed_syslog "$(status_json | jq -r '[.alarms[].alarm] | last')"

forged=${block/GBC=\"1\"/GBC=\"2\"}
send_counted "$forged"
found 'flag:signature_invalid' 1
found 'kind:alarm' 2 30
stele_cli show "$(jq -r '[.rows[].seq] | max' "$work/found.json")" --raw >"$work/alarm.json"
same 'an invalid signature is an alarm too' signature_invalid "$(jq -r .alarm "$work/alarm.json")"
send_counted "${block//switch-1/printer-9}"
found 'flag:signature_unknown' 1

alive
succeeds 'stele up stops cleanly' stop_stele
verify_says "$good_words" "$work/s"
finish_test
