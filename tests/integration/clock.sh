#!/usr/bin/env bash
# Goal: a step of the clock, either way, and the loss of its keeper are entries and alarms of the log, and neither stops anything.
# Method: the real family under a preloaded library that moves the clock as the test wants (clock_shim.c): the machine's own clock is not
# ours to set, and a time namespace cannot move CLOCK_REALTIME.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
command -v cc >/dev/null || skip 'no C compiler for the library that moves the clock'
begin_test
cc -O1 -shared -fPIC -o "$work/shim.so" "$here/clock_shim.c" || fail 'the library could not be built'
mkdir "$work/bin"
cp "$stele_bin/stele" "$work/bin/stele"
for program in "$stele_bin"/stele-{receive,ledger,anchor,query,web}; do
  # The supervisor hands no LD_PRELOAD down.
  printf '#!/bin/sh\nLD_PRELOAD=%s CLOCK_SHIM=%s exec -a %s %s "$@"\n' "$work/shim.so" "$work/shift" "$(basename "$program")" "$program" |
    sed '1s|/bin/sh|/bin/bash|' >"$work/bin/$(basename "$program")"
  chmod +x "$work/bin/$(basename "$program")"
done
# clock NANOSECONDS UNKEPT: 16 octets, little endian.
clock() {
  local value i text=''
  for value in "$1" "$2"; do for i in 0 8 16 24 32 40 48 56; do text+=$(printf '\\x%02x' $((value >> i & 255))); done; done
  printf "$text" | dd of="$work/shift" conv=notrunc status=none
}
: >"$work/shift"
clock 0 0
second=1000000000
stele_bin=$work/bin
export LD_PRELOAD=$work/shim.so CLOCK_SHIM=$work/shift
start_stele "$work/s"
unset LD_PRELOAD

say_so() { printf '<13>1 - probe test 1 - - %s\n' "$1" >"/dev/tcp/127.0.0.1/$(port_of syslog-tcp)"; found "$1" 1; }
received_s() { date -d "$(jq -r '.rows[0] | .received // .time' "$work/found.json")" +%s; }
payload() { jq -r '.rows[0].payload_b64 | @base64d' "$work/found.json"; }

say_so plover-before
near() { local off=$(($2 - $3)); [ "${off#-}" -le 10 ] && pass "$1" || fail "$1: off by $off s"; }
near 'the time is the machine'"'"'s' "$(received_s)" "$(date +%s)"
same 'no alarm yet' 0 "$(search 'kind:alarm clock_step' | jq '.rows | length')"

clock $((3600 * second)) 0
found 'kind:alarm clock_step' 1
[[ "$(payload | jq -r .text)" =~ ^the\ clock\ was\ set\ (3599[0-9]{3}|3600[0-9]{3})\ ms\ forward$ ]] || fail "the alarm: $(payload)"
pass "the alarm: $(payload | jq -r .text)"
found 'kind:clock step' 1
near 'the entry has the size of the step' "$(payload | jq '.moved_ns / 1e9 | floor')" 3600
say_so plover-after
near 'what comes then has the new time' "$(received_s)" $(($(date +%s) + 3600))
same 'and is not flagged' 0 "$(jq '.rows[0].flags | length' "$work/found.json")"

clock $((-3600 * second)) 0
found 'kind:alarm clock_step' 2
found 'kind:alarm back' 1
near 'two hours back' "$(payload | jq '.moved_ns / 1e9 | floor')" -7200
say_so plover-back
near 'the new time again' "$(received_s)" $(($(date +%s) - 3600))

clock $((-3600 * second + 300000000)) 0
say_so plover-slewed
sleep 2
same 'less than a second is no step' 2 "$(search 'kind:alarm clock_step' | jq '.rows | length')"

clock $((-3600 * second)) 1
found 'kind:alarm time_unsynchronised' 1
pass "the alarm: $(payload | jq -r .text)"
clock $((-3600 * second)) 0
found 'kind:alarm time_synchronised' 1

wait_checkpointed
alive
verify_says "$good_words"
succeeds 'stele up stops cleanly' stop_stele
verify_says "$good_words" "$work/s"
finish_test
