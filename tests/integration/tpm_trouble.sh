#!/usr/bin/env bash
# Goal: whatever the TPM does, logging goes on; the status says since when nothing is anchored; an alarm marks the beginning and
# the end of the episode; the vulnerability window is what it is; recovery is by read-back, without a restart of any process.
# Method: a real `stele up` on a real swtpm behind stele-tpm-relay, which answers in the TPM's place, drops commands and replies,
# cuts connections and takes the TPM away. After each trouble: everything sent is found, and the verdict is good.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
relay_bin="$stele_bin/stele-tpm-relay"
[ -x "$relay_bin" ] || skip "$relay_bin is not built"
begin_test
mkdir -m 0700 "$work/relay"
"$relay_bin" serve "$work/relay" >"$work/relay/log" 2>&1 &
relay_pid=$!
for _ in $(seq 200); do [ -S "$work/relay/tpm.sock" ] && break; sleep 0.05; done
relay() { "$relay_bin" tell "$work/relay" "$*" >"$work/out" || fail "the relay refuses: $* ($(cat "$work/out"))"; }

stele_more_toml=$'[checkpoint]\nheartbeat_interval_ms = 1000\n[anchor]\ninterval_ms = 1000\ntpm = "swtpm:path='"$work"$'/relay/tpm.sock"'
start_stele "$work/s" || fail 'Stele does not start on a TPM behind a socket'

unanchored_since() { status_json | jq -r '.tpm.unanchored_since // ""'; }
alarms_like() { status_json | jq --arg text "$1" '[.alarms[] | select(.alarm == "anchor" and (.text | startswith($text)))] | length'; }
word() { status_json | jq -r .verdict.word; }
wait_for() {  # wait_for WHAT SECONDS COMMAND...
  local what=$1 end=$((SECONDS + $2)); shift 2
  until "$@"; do [ "$SECONDS" -lt "$end" ] || { status_json | jq '{anchor, mvw, tpm, verdict, alarms}' >&2; fail "$what"; }; sleep 0.1; done
}
is_unanchored() { [ -n "$(unanchored_since)" ]; }
is_anchored() { [ "$(status_json | jq -r '.anchor.state')" = anchored ] && ! is_unanchored; }
is_good() { [[ "|$good_words|" == *"|$(word)|"* ]]; }
receipts() { status_json | jq -r '.anchor.anchor // 0'; }
send_word() { printf '<13>1 2026-11-21T06:00:00Z probe test 1 - - %s\n' "$1" >"/dev/tcp/127.0.0.1/$(port_of syslog-tcp)"; }

wait_for 'the first anchor is made' 30 is_anchored
pids=$(status_json | jq -c '[.processes[] | {name, pid}]')
episodes=$(alarms_like 'unanchored:')

# trouble NAME PCR LINE...: the lines to the relay, records meanwhile, clear, recovery. PCR: yes when it is out of reach too.
trouble() {
  local name=$1 pcr=$2 before after since rows line; shift 2
  before=$(receipts)
  for line in "$@"; do relay "$line"; done
  send_word "${name}a"
  wait_for "$name: the status says unanchored" 30 is_unanchored
  wait_for "$name: an alarm is raised" 30 eval "[ \$(alarms_like unanchored:) -gt $episodes ]"
  since=$(unanchored_since)
  send_word "${name}b"
  found "${name}b" 1
  rows=$(status_json | jq -r '.mvw.across_boot.records')
  sleep 1.2
  send_word "${name}c"
  found "${name}c" 1
  same "$name: it is one episode, since the same moment" "$since" "$(unanchored_since)"
  after=$(status_json | jq -r '.mvw.across_boot.records')
  [ "$after" -gt "$rows" ] || fail "$name: the window across boots does not grow ($rows, then $after)"
  [ "$(status_json | jq -r '.mvw.across_boot.ms')" -ge 1000 ] || fail "$name: the window across boots is said to be short"
  if [ "$pcr" = yes ]; then
    [ "$(status_json | jq -r '.mvw.same_boot.ms')" -ge 1000 ] || fail "$name: the window of this boot is said to be short"
  else
    [ "$(status_json | jq -r '.mvw.same_boot.ms')" -lt 4000 ] || fail "$name: checkpoints do not go on in the PCR"
  fi
  pass "$name: the window grows as it should"
  "$stele_bin/stele" status --dir "$stele_dir" 2>/dev/null | grep -q 'unanchored since 2' || fail "$name: stele status does not say since when"
  relay clear
  relay back
  wait_for "$name: anchored again" 90 is_anchored
  [ "$(receipts)" -gt "$before" ] || wait_for "$name: a further receipt" 30 eval "[ \$(receipts) -gt $before ]"
  wait_for "$name: the verdict is good" 10 is_good
  episodes=$((episodes + 1))
  same "$name: one alarm began the episode" "$episodes" "$(alarms_like 'unanchored:')"
  same "$name: one alarm ended it" "$episodes" "$(alarms_like 'anchored again')"
  for word in a b c; do found "$name$word" 1; done
}

# blip NAME LINE: a trouble that is over at once; Stele finds out by itself what became of the command.
blip() {
  relay "$2"
  send_word "$1"
  episodes=$((episodes + 1))
  wait_for "$1: an alarm is raised" 30 eval "[ \$(alarms_like unanchored:) = $episodes ]"
  wait_for "$1: and its end" 30 eval "[ \$(alarms_like 'anchored again') = $episodes ]"
  is_good || fail "$1: the verdict is $(word)"
  found "$1" 1
}

trouble nvrate no 'answer nv NV_RATE'
trouble nvunavailable no 'answer nv NV_UNAVAILABLE'
trouble lockout yes 'answer any LOCKOUT'
trouble retry yes 'answer PCR_Extend RETRY'
blip reply 'drop-reply PCR_Extend times 1'
blip nvreply 'drop-reply NV_Extend times 1'
trouble commands yes 'drop-command any'
trouble cutbefore yes 'cut-before PCR_Extend'
trouble cutafter yes 'cut-after PCR_Extend times 3' 'gone'
trouble counted no 'cut-after NV_Increment times 1' 'answer NV_Certify RETRY'
trouble absent yes 'gone'
same 'no process was restarted' "$pids" "$(status_json | jq -c '[.processes[] | {name, pid}]')"

# A TPM that loses its power beneath a running Stele is a new boot, no alarm.
relay power-cut
send_word powercut
found powercut 1
sleep 3
wait_for 'anchored after a power cut of the TPM' 30 is_anchored
is_good || fail "after a power cut of the TPM the verdict is $(word)"
pass 'a power cut of the TPM is not an alarm'
same 'no process was restarted by it' "$pids" "$(status_json | jq -c '[.processes[] | {name, pid}]')"

# Without a TPM at the start: logging at once, judged when it comes.
stop_stele || fail 'Stele does not stop cleanly'
relay gone
start_stele "$work/s" || fail 'Stele does not start without its TPM'
same 'without its TPM the verdict is that it cannot tell' CANNOT_TELL "$(word)"
wait_for 'without its TPM it says so' 10 is_unanchored
send_word withouttpm
found withouttpm 1
relay back
wait_for 'anchored when the TPM is there' 60 is_anchored
wait_for 'judged when the TPM is there' 10 is_good
pass 'a TPM that comes late is judged then'
stop_stele || fail 'Stele does not stop cleanly'

# Every episode is in the log for ever: the alarms are entries.
start_stele "$work/s"
rows=$(search 'kind:alarm unanchored' | jq '.rows | length')
[ "$rows" -ge "$episodes" ] || fail "$rows alarm entries for $episodes episodes"
pass 'the alarms are entries of the log'
grep -q '"act":"cut-after"' "$work/relay/exchanges.ndjson" || fail 'the relay has recorded no exchange'
pass 'the relay recorded the exchanges'
stop_stele || fail 'Stele does not stop cleanly'
kill "$relay_pid"
finish_test
