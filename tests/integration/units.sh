#!/usr/bin/env bash
# Goal: with --units no process is started by `stele up`: whoever listens on a socket for it does, as socket units with Accept=yes do in the
# bootable image; a process that dies is joined again, and a stop or the end of the supervisor ends them all.
# Method: systemd-socket-activate, which starts a program for each connection exactly as systemd does, one for each process, each in a
# network namespace of its own; stele-web's has its loopback up, as PrivateNetwork=yes has it. Needs root.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
[ "$(id -u)" = 0 ] || skip 'network namespaces need root'
for tool in systemd-socket-activate unshare ip; do command -v "$tool" >/dev/null || skip "$tool is not installed"; done
unshare -n true 2>/dev/null || skip 'no network namespace can be made here'
begin_test

mkdir "$work/bin" "$work/units"
real_bin=$(cd "$stele_bin" && pwd)
cat >"$work/bin/stele" <<SH
#!/bin/sh
[ "\$1" = up ] && set -- "\$@" --units "$work/units"
exec "$real_bin/stele" "\$@"
SH
chmod +x "$work/bin/stele"
listen() {  # listen NAME [SHELL_COMMAND]: what a socket unit and its service do
  systemd-socket-activate --accept --seqpacket --listen="$work/units/$1" \
    unshare -n sh -c "${2:-true}; exec '$real_bin/$1'" >>"$work/$1.log" 2>&1 &
}
for name in anchor ledger query receive; do listen "stele-$name"; done
listen stele-web 'ip link set lo up'
for name in anchor ledger query receive web; do
  end=$((SECONDS + 20))
  until [ -S "$work/units/stele-$name" ]; do [ "$SECONDS" -lt "$end" ] || fail "nobody listens for stele-$name"; sleep 0.05; done
done

stele_bin=$work/bin
start_stele "$work/s" || { tail -n 3 "$work"/*.log >&2; fail 'stele up --units does not start'; }
stele_bin=$real_bin
pid_of() { jq -r ".pids[\"$1\"]" "$work/s/run/ready.json"; }
for name in anchor ledger query receive web; do
  same "stele-$name is what it says it is" "stele-$name" "$(tr -d '\0' <"/proc/$(pid_of "stele-$name")/comm" | head -n 1)"
  parent=$(awk '/^PPid:/ { print $2 }' "/proc/$(pid_of "stele-$name")/status")
  [ "$parent" != "$stele_pid" ] || fail "stele-$name is a child of stele up"
done
pass 'none of them is a child of stele up'
same 'the viewer says that it sees the loopback alone' 'loopback alone' "$(jq -r '.ready["stele-web"].network' "$work/s/run/ready.json")"
same 'the ledger sees nothing' 'empty namespace' "$(jq -r '.ready["stele-ledger"].network' "$work/s/run/ready.json")"

logger -n 127.0.0.1 -P "$(port_of syslog-tcp)" -T --octet-count 'the word is heron-before'
found heron-before 1
for name in ledger receive; do
  old=$(pid_of "stele-$name")
  kill -KILL "$old"
  end=$((SECONDS + 30))
  until now=$(status_json | jq -r ".processes[] | select(.name == \"stele-$name\") | select(.event == \"ready\") | .pid") &&
    [ -n "$now" ] && [ "$now" != "$old" ]; do
    [ "$SECONDS" -lt "$end" ] || fail "stele-$name did not come back"
    sleep 0.1
  done
  pass "stele-$name was killed and is joined again"
done
logger -n 127.0.0.1 -P "$(port_of syslog-tcp)" -T --octet-count 'the word is heron-after'
found heron-after 1
succeeds 'the log is whole' stele_cli verify

joined() { jq -r '.pids | to_entries[] | select(.key != "swtpm") | .value' "$work/s/run/ready.json"; }
runs() { [ -d "/proc/$1" ] && ! grep -q '^State:.Z' "/proc/$1/status" 2>/dev/null; }

# Nobody is left who could tell them to end: they hear it from their closed channels.
pids=$(joined)
kill -KILL "$stele_pid"
wait "$stele_pid" 2>/dev/null || true
for pid in $pids; do
  end=$((SECONDS + 30))
  while runs "$pid"; do [ "$SECONDS" -lt "$end" ] || fail "process $pid outlives the supervisor"; sleep 0.1; done
done
pass 'the supervisor was killed, and all it had joined ended'
stele_bin=$work/bin
start_stele "$work/s" || fail 'it does not start again after the supervisor was killed'
stele_bin=$real_bin
found heron-after 1
succeeds 'the log is whole after that' stele_cli verify

pids=$(joined)
stop_stele || fail 'it does not stop cleanly'
for pid in $pids; do ! runs "$pid" || fail "process $pid is still there after the stop"; done
pass 'all processes ended with the stop'

# Nobody behind a socket: a sentence, not a start without it.
rm "$work/units/stele-web"
exits_with 'a process that nobody starts ends the start' 3 "$real_bin/stele" up --dir "$work/s" --units "$work/units"
grep -q 'stele-web' "$work/out" || fail "it does not say which: $(cat "$work/out")"
pass 'it says which one'
printf '[processes]\nnetwork_namespace = "zones"\n' >"$work/zones.toml"
exits_with 'networks of zones are the units affair' 2 "$real_bin/stele" up --dir "$work/s" --units "$work/units" --config "$work/zones.toml"
finish_test
