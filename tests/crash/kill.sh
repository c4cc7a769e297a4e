#!/usr/bin/env bash
# Goal: kill -9 of any process at any moment loses no acknowledged record and never looks like tampering.
# Method: kill.sh PROCESS kills stele-PROCESS (or the supervisor) STELE_KILLS times (50) at moments from a printed seed
# (STELE_SEED), under load on TCP, while events are posted over HTTPS and every acknowledged one is noted. In the end each
# noted event is found, status says OK, and `stele verify` agrees, running and stopped.
. "$(dirname "${BASH_SOURCE[0]}")/../integration/lib.sh"
process=${1:?usage: kill.sh receive|ledger|anchor|query|web|supervisor}
kills=${STELE_KILLS:-50}
seed=${STELE_SEED:-$RANDOM}
RANDOM=$seed
begin_test
say "$process: $kills kills, seed $seed"
stele_more_toml=$'[anchor]\ninterval_ms = 2000\n[processes]\nrestart_delay_max_ms = 100'
start_stele "$work/s"
tag="crash${seed}x"

pid_of_process() { if [ "$process" = supervisor ]; then echo "$stele_pid"; else pid_of "stele-$process"; fi; }

# Posts batches of ten events until told to stop; a batch that is answered 200 goes into acknowledged.
post_forever() {
  local batch=0 n
  while [ ! -e "$work/enough" ]; do
    for n in 0 1 2 3 4 5 6 7 8 9; do printf '{"run":"%s","id":"%s-%d-%d"}\n' "$tag" "$tag" "$batch" "$n"; done >"$work/batch"
    if post_events "$work/batch" >"$work/batch.answer" 2>/dev/null &&
      [ "$(jq '[.ranges[] | .[1] - .[0] + 1] | add' "$work/batch.answer" 2>/dev/null)" = 10 ]; then
      jq -r .id "$work/batch" >>"$work/acknowledged"
    fi
    batch=$((batch + 1))
  done
}

# Keeps TCP busy; the port changes when the supervisor is started again.
load_forever() {
  local round=0
  while [ ! -e "$work/enough" ]; do
    "$send" --tcp "127.0.0.1:$(port_of syslog-tcp 2>/dev/null)" --count 1000 --rate 1000 --seed "$round" >/dev/null 2>&1 ||
      sleep 0.1
    round=$((round + 1))
  done
}

wait_back() {  # until the killed process runs again and the whole family answers
  local end=$((SECONDS + 30)) pid
  while :; do
    pid=$(pid_of_process) || pid=''
    if [ -n "$pid" ] && [ "$pid" != "$1" ] && [ -n "$(status_json | jq -r '.log_id // empty' 2>/dev/null)" ]; then return; fi
    kill -0 "$stele_pid" 2>/dev/null || fail "stele up ended after kill number $number"
    [ "$SECONDS" -lt "$end" ] || fail "stele-$process did not come back after kill number $number"
    sleep 0.05
  done
}

wait_acknowledged() {  # until something new was acknowledged since the kill: otherwise the next kill proves nothing
  local end=$((SECONDS + 30))
  until [ "$(wc -l <"$work/acknowledged")" -gt "$1" ]; do
    [ "$SECONDS" -lt "$end" ] || fail "nothing was acknowledged any more after kill number $number"
    sleep 0.05
  done
}

touch "$work/acknowledged"
post_forever & poster=$!
load_forever & loader=$!
for number in $(seq "$kills"); do
  sleep "0.$(printf %03d $((RANDOM % 500)))"
  pid=$(pid_of_process)
  [ -n "$pid" ] || fail "stele-$process does not run before kill number $number"
  so_far=$(wc -l <"$work/acknowledged")
  kill -KILL "$pid"
  if [ "$process" = supervisor ]; then
    wait "$pid" 2>/dev/null || true
    start_stele "$work/s" || fail "stele up did not start again after kill number $number"
  else
    wait_back "$pid"
  fi
  wait_acknowledged "$so_far"
done
sleep 1
touch "$work/enough"
wait "$poster" "$loader" || true
pass "$kills kills survived"

post_events "$work/batch" >"$work/batch.answer" || fail 'after the last kill an event is not acknowledged'
printf '<13>1 2026-11-21T06:00:00Z probe test 1 - - %s-after\n' "$tag" >"/dev/tcp/127.0.0.1/$(port_of syslog-tcp)"
found "$tag-after" 1
wait_checkpointed 60
acknowledged=$(wc -l <"$work/acknowledged")
before='' more=1
: >"$work/stored"
while [ "$more" = 1 ]; do
  stele_cli search --json --limit 1000 ${before:+--before "$before"} "kind:json" >"$work/page" 2>/dev/null ||
    fail 'a search failed'
  jq -r '.rows[].payload_b64 | @base64d | fromjson | .id' "$work/page" >>"$work/stored"
  before=$(jq -r '.next_before // empty' "$work/page")
  [ -n "$before" ] || more=0
done
missing=$(comm -23 <(sort -u "$work/acknowledged") <(sort -u "$work/stored") | wc -l)
same "of $acknowledged acknowledged events, missing" 0 "$missing"
verify_says "$good_words"
stop_stele || fail 'stele up did not stop cleanly'
verify_says "$good_words" "$work/s"
finish_test
