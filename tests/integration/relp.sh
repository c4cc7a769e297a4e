#!/usr/bin/env bash
# Goal: what a real RELP client sends is stored once and acknowledged, and nothing is lost when the receiver or the ledger goes away in
# the middle: what comes again is stored again, and then it is flagged.
# Method: sessions by hand, stele-bench-send, and rsyslog's omrelp (plain and over TLS); kill -9 under load; the stopped store is read
# payload by payload and compared with what was sent.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
. "$root/scripts/lib/devices.sh"
payloads="$stele_bin/stele-store-payloads"
begin_test
[ -x "$payloads" ] || skip "$payloads is not built"
peers_here=1
"$root/scripts/peers" >/dev/null 2>"$work/peers.err" || { peers_here=0; warn "no rsyslog: $(tail -n 1 "$work/peers.err")"; }
stele_ingest_toml='relp_tls_port = 0'
stele_more_toml=$'[processes]\nrestart_delay_max_ms = 100'
start_stele "$work/s"
relp=$(port_of relp)

# converse OCTETS: sends them to the RELP listener and prints everything that comes back until it closes.
converse() {
  local answers
  exec 3<>"/dev/tcp/127.0.0.1/$relp"
  printf "$1" >&3
  answers=$(timeout 20 cat <&3)
  exec 3>&-
  tr '\n' '|' <<<"$answers"
}

# through IN_PORT TAG COUNT SEED [OPTION...]: the messages of a run of the generator into rsyslog. The last one carries a word of its own.
through() {
  local in=$1 tag=$2 count=$3 seed=$4; shift 4
  "$send" --tcp "127.0.0.1:$in" --count "$count" --size 0 --tag "$tag" --seed "$seed" --needle-every "$count" "$@" >/dev/null
}

# arrived COUNT SEED SECONDS: until the last message of that run is found.
arrived() {
  local word end=$((SECONDS + $3))
  word=$("$send" --needles --count "$1" --needle-every "$1" --seed "$2")
  until [ "$(search "$word" | jq '.rows | length' 2>/dev/null)" -ge 1 ] 2>/dev/null; do
    [ "$SECONDS" -lt "$end" ] || fail "the last message of seed $2 did not come"
    sleep 0.3
  done
  search "$word" >"$work/found.json"
}

# sent_and_stored TAG COUNT SEED [NEEDLE_EVERY]: every message of that run of the generator is in the stopped store, and more than once only if flagged.
sent_and_stored() {
  "$send" --print --count "$2" --size 0 --tag "$1" --seed "$3" --needle-every "${4:-0}" | sort >"$work/sent"
  grep -F "id=\"$1\"" "$work/records" >"$work/of_tag" || true
  cut -f 3- "$work/of_tag" | sort >"$work/stored"
  same "$1: no message is missing" 0 "$(sort -u "$work/stored" | comm -23 "$work/sent" - | wc -l)"
  same "$1: nothing else is there" 0 "$(sort -u "$work/stored" | comm -13 "$work/sent" - | wc -l)"
  awk -F'\t' '$2 !~ /possible_duplicate/' "$work/of_tag" | cut -f 3- | sort | uniq -d >"$work/unflagged"
  same "$1: none is there twice without a flag" 0 "$(wc -l <"$work/unflagged")"
  say "$1: $(wc -l <"$work/stored") records of $2 messages, $(grep -c possible_duplicate "$work/of_tag" || true) flagged"
}

say '--- sessions by hand'
same 'a session is answered in order' \
  '1 rsp 57 200 OK|relp_version=0|relp_software=stele|commands=syslog|2 rsp 6 200 OK|3 rsp 19 500 unknown command|4 rsp 0|0 serverclose 0|' \
  "$(converse '1 open 30 relp_version=0\ncommands=syslog\n2 syslog 24 <13>the word is curlew-1\n3 nonsense 0\n4 close 0\n')"
found curlew-1 1
same 'transport' relp "$(jq -r '.rows[0].source.transport' "$work/found.json")"
same 'an HTTP request is refused' '0 serverclose 0|' "$(converse 'GET /curlew-2 HTTP/1.1\r\n\r\n')"
found curlew-2 1
same 'a message that is not open yet is refused' '0 serverclose 0|' "$(converse '1 syslog 8 curlew-3\n')"

say '--- stele-bench-send'
succeeds '20,000 messages, window 128: all acknowledged' \
  "$send" --relp "127.0.0.1:$relp" --count 20000 --size 0 --tag w128 --seed 1
succeeds '20,000 messages, window 10,000: all acknowledged' \
  "$send" --relp "127.0.0.1:$relp" --count 20000 --window 10000 --size 0 --tag w10000 --seed 2
succeeds '4 messages of 900,000 octets: all acknowledged' "$send" --relp "127.0.0.1:$relp" --count 4 --size 900000 --seed 3

if [ "$peers_here" = 1 ]; then
  say '--- rsyslog omrelp'
  in=$(free_port)
  start_relp_device "$work/plain" "$in" "$relp"
  through "$in" plain 5000 4
  arrived 5000 4 60
  stop_process "$relp_pid"
  in=$(free_port)
  start_relp_device "$work/tls" "$in" "$(port_of relp-tls)" "$stele_dir/keys/ca.pem"
  through "$in" tls 2000 5
  arrived 2000 5 60
  same 'transport' relp-tls "$(jq -r '.rows[0].source.transport' "$work/found.json")"
  stop_process "$relp_pid"

  for victim in receive ledger; do
    say "--- kill -9 of stele-$victim while omrelp sends"
    in=$(free_port)
    start_relp_device "$work/kill-$victim" "$in" "$relp"
    seed=$((${seed:-5} + 1))
    through "$in" "kill-$victim" 6000 "$seed" --rate 2000 & sender=$!
    for pause in 0.7 0.9; do
      sleep "$pause"
      pid=$(pid_of "stele-$victim") ledger=$(pid_of stele-ledger)
      [ -n "$pid" ] || fail "stele-$victim does not run"
      # A ledger that stands still leaves a window of messages unanswered, so that there is something to send again.
      kill -STOP "$ledger"
      sleep 0.3
      kill -KILL "$pid"
      kill -CONT "$ledger" 2>/dev/null || true
    done
    wait "$sender"
    arrived 6000 "$seed" 90
    stop_process "$relp_pid"
  done
fi
refused=$(status_json | jq '.listeners[] | select(.name == "relp") | .refused')
say "refused by the relp listener (since its last start): $refused"
succeeds 'stele up stops cleanly' stop_stele
verify_says "$good_words" "$work/s"

say '--- what the stopped store holds'
"$payloads" "$work/s/store" >"$work/records" || fail 'the store cannot be read'
sent_and_stored w128 20000 1
sent_and_stored w10000 20000 2
same 'curlew-3, sent before open, was kept as it came' '1 syslog 8 curlew-3 ' "$(grep curlew-3 "$work/records" | cut -f 3-)"
if [ "$peers_here" = 1 ]; then
  victim_seed=6
  sent_and_stored plain 5000 4 5000
  same 'plain: nothing is flagged' 0 "$(grep -F 'id="plain"' "$work/records" | grep -c possible_duplicate || true)"
  sent_and_stored tls 2000 5 2000
  for victim in receive ledger; do
    sent_and_stored "kill-$victim" 6000 $((victim_seed++)) 6000
    flagged=$(grep -F "id=\"kill-$victim\"" "$work/records" | grep -c possible_duplicate || true)
    [ "$flagged" -ge 1 ] || fail "kill-$victim: nothing was sent again, so nothing was tested"
    pass "kill-$victim: $flagged messages that came again are flagged"
  done
fi
finish_test
