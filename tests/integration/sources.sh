#!/usr/bin/env bash
# Goal: sources carry the operator's names, are missed when they fall silent, keep their numbers over restarts, and strangers are
# refused on the record; a changed configuration is taken over by SIGHUP, a wrong one is not.
# Method: senders on several loopback addresses against one running Stele; its configuration changed under it.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
begin_test
mkdir -m 0700 "$work/s"
toml() {  # toml UNKNOWN NAME: the configuration with another rule for strangers and another name for 127.0.0.2
  stele_toml
  printf '[sources]\nunknown = "%s"\nsilence_min_s = 2\nsilence_factor = 2\nsilence_messages = 10\n' "$1"
  printf '[[sources.named]]\nname = "%s"\naddress = "127.0.0.2"\n' "$2"
}
toml accept core-switch >"$work/s/stele.toml"
start_stele "$work/s"
from() {  # from ADDRESS COUNT TAG [RATE]
  "$send" --udp "127.0.0.1:$(port_of syslog-udp)" --from "$1" --count "$2" --tag "$3" --rate "${4:-0}" >/dev/null
}
row() { jq -r ".rows[0] | $1" "$work/found.json"; }
payload() { jq -r '.rows[0].payload_b64' "$work/found.json" | base64 -d; }

# Names.
from 127.0.0.2 20 heron-named 5
found heron-named 20
same 'the row carries the name' core-switch "$(row .source.name)"
found 'source:core-switch heron-named' 20
number=$(row .source.id)
from 127.0.0.3 3 heron-nameless
found heron-nameless 3
same 'a stranger has no name' null "$(row .source.name)"
stranger=$(row .source.id)
[ "$number" != "$stranger" ] || fail 'two addresses are one source'

# Silence.
found 'kind:alarm source_silent' 1
same 'the alarm names the source' core-switch "$(payload | jq -r .name)"
same 'and belongs to it' "$number" "$(row .source.id)"
same 'status shows it' source_silent "$(status_json | jq -r '[.alarms[] | select(.alarm == "source_silent")][0].alarm')"
same 'status counts it' 1 "$(status_json | jq -r .sources.silent)"
from 127.0.0.2 1 heron-back
found 'kind:alarm source_recovered' 1
same 'nobody is silent now' 0 "$(status_json | jq -r .sources.silent)"

# Another configuration while it runs.
before=$(sha256sum <"$work/s/stele.toml" | cut -d' ' -f1)
found "kind:policy $before" 1
toml refuse main-switch >"$work/s/stele.toml"
after=$(sha256sum <"$work/s/stele.toml" | cut -d' ' -f1)
kill -HUP "$stele_pid"
found "kind:policy $after" 1
same 'the change is an entry' reload "$(payload | jq -r .event)"
from 127.0.0.2 2 heron-renamed
found 'source:main-switch heron-renamed' 2
same 'the number stays under another name' "$number" "$(row .source.id)"

# Strangers.
wait_stored syslog-udp 26   # all of the above
from 127.0.0.3 7 heron-refused
from 127.0.0.2 1 heron-after-refusal
found heron-after-refusal 1
found 'kind:loss refused_source' 1
same 'the loss entry has the address' 127.0.0.3 "$(payload | jq -r .peer)"
same 'and counts every message' 7 "$(payload | jq -r .count)"
same 'the listener counts them as lost' 7 "$(status_json | jq '[.listeners[] | select(.name == "syslog-udp") | .lost] | add')"
wait_stored syslog-udp 27
same 'and stored none of them' 27 "$(stored_by syslog-udp)"
found heron-refused 0

# A stranger over RELP: no message is answered, each is counted, the session ends, and again after that.
relp=127.0.0.1:$(port_of relp)
for round in 1 2; do
  exits_with "a stranger's RELP session is ended, $round" 1 "$send" --relp "$relp" --from 127.0.0.3 --count 100 --window 10 --tag heron-relp
  same 'nothing of it was acknowledged' '0 serverclose' "$(jq -r '"\(.acknowledged) \(.end)"' "$work/out")"
done
succeeds 'one with a name is served meanwhile' "$send" --relp "$relp" --from 127.0.0.2 --count 100 --tag heron-relp
found heron-relp 100
sleep 1.2
lost=$(account relp | jq '.losses.refused_source')
[ "$lost" -ge 2 ] && [ "$lost" -le 200 ] || fail "of 2 x 100 messages in windows of 10 $lost were counted as refused"
same 'received = stored + lost' true "$(account relp | jq '.received == .stored + .lost and .stored == 100')"
relp_losses() { search 'kind:loss refused_source' | jq '[.rows[].payload_b64 | @base64d | fromjson | select(.listener == "relp") | .count] | add // 0'; }
end=$((SECONDS + 80))  # the entries of refused messages are written once a minute
until [ "$(relp_losses)" = "$lost" ]; do [ "$SECONDS" -lt "$end" ] || fail "the loss entries add up to $(relp_losses), refused were $lost"; sleep 1; done
pass "the loss entries add up to the $lost refused"
same 'no process was restarted' 0 "$(status_json | jq '[.processes[].restarts] | add')"

# A wrong file is refused, loudly, and nothing changes.
printf '[sources]\nunknwon = "accept"\n' >"$work/s/stele.toml"
kill -HUP "$stele_pid"
found 'kind:alarm configuration_refused' 1
payload | grep -q 'stele.toml:2: unknown key sources.unknwon' || fail "the alarm does not name the place: $(payload)"
grep -q 'unknwon' "$work/s/up.log" || fail 'stele up said nothing'
pass 'the alarm and the terminal name the line'
from 127.0.0.3 1 heron-still-refused
from 127.0.0.2 1 heron-still-named
found 'source:main-switch heron-still-named' 1
found heron-still-refused 0
found 'kind:policy config_sha256' 2

# What must wait for a start is named.
{ toml accept core-switch; printf '[store]\ncodec = "lz4"\n'; } >"$work/s/stele.toml"
kill -HUP "$stele_pid"
found 'kind:policy reload' 2
same 'the entry names what must wait' '["store.codec"]' "$(payload | jq -c .at_next_start)"

# Numbers stay over a crash of the ledger and over a restart.
alive_numbers() {  # alive_numbers TAG
  from 127.0.0.2 1 "heron-$1-a"
  from 127.0.0.3 1 "heron-$1-b"
  found "heron-$1-a" 1
  same "the number of the named one, $1" "$number" "$(row .source.id)"
  found "heron-$1-b" 1
  same "the number of the stranger, $1" "$stranger" "$(row .source.id)"
}
alive_numbers running
old=$(pid_of stele-ledger)
kill -KILL "$old"
until new=$(pid_of stele-ledger) && [ -n "$new" ] && [ "$new" != "$old" ]; do sleep 0.1; done
alive_numbers after-a-crash
stop_stele || fail 'stele up did not stop cleanly'
start_stele "$work/s"
alive_numbers after-a-restart
verify_says "$good_words"
finish_test
