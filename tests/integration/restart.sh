#!/usr/bin/env bash
# Goal: a stop and a start lose nothing, continue the sequence, and are themselves on record.
# Method: three runs over one directory with records in each; a second `stele up` on a live directory is refused.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
begin_test
for run in 1 2 3; do
  start_stele "$work/s"
  log_id=$(status_json | jq -r .log_id)
  [ "$run" = 1 ] && first_id=$log_id
  same "run $run is the same log" "$first_id" "$log_id"
  "$send" --tcp "127.0.0.1:$(port_of syslog-tcp)" --count 500 --tag "run-$run" --seed "$run" >/dev/null
  wait_stored syslog-tcp 500
  wait_checkpointed
  for earlier in $(seq "$run"); do found "run-$earlier" 500; done
  exits_with 'a second stele up on this directory is refused' 1 "$stele_bin/stele" up --dir "$work/s"
  verify_says "$good_words"
  stop_stele || fail "run $run did not stop cleanly"
  verify_says "$good_words" "$work/s"
done
printf '[ingest]\nsyslog_tcp_prot = 0\n' >"$work/bad.toml"
exits_with 'an unknown key in the configuration is refused' 2 "$stele_bin/stele" up --dir "$work/t" --config "$work/bad.toml"
grep -q 'bad.toml:2.*syslog_tcp_prot' "$work/out" || fail 'the complaint names neither the line nor the key'
pass 'the complaint names file, line and key'
finish_test
