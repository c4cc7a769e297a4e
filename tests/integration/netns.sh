#!/usr/bin/env bash
# Goal: every process but the supervisor lives in a network namespace with nothing in it, and still serves the sockets it
# inherited; a sender on another machine reaches the listeners, and from inside the receiver nothing can be reached.
# Method: a network namespace plays the appliance, another one the sender, a veth pair the cable between them; nsenter goes into
# the receiver's namespace and tries to get out. Needs root.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
[ "$(id -u)" = 0 ] || skip 'network namespaces need root'
for tool in ip nsenter; do command -v "$tool" >/dev/null || skip "$tool is not installed"; done
box="stele-box-$$" far="stele-far-$$"
ip netns add "$box" 2>/dev/null || skip 'no network namespace can be made here'
begin_test
trap 'end_of_test; ip netns del "$box" 2>/dev/null; ip netns del "$far" 2>/dev/null' EXIT
ip netns add "$far"
ip -n "$box" link add steleb type veth peer name stelef netns "$far" || skip 'no veth pair can be made here'
ip -n "$box" addr add 192.0.2.1/24 dev steleb
ip -n "$far" addr add 192.0.2.2/24 dev stelef
for end in "$box steleb" "$far stelef"; do
  ip -n "${end% *}" link set "${end#* }" up
  ip -n "${end% *}" link set lo up
done

# start_stele runs $stele_bin/stele: here by way of the appliance's namespace.
mkdir "$work/bin"
real_bin=$(cd "$stele_bin" && pwd)
cat >"$work/bin/stele" <<SH
#!/bin/sh
exec ip netns exec $box "$real_bin/stele" "\$@"
SH
chmod +x "$work/bin/stele"
stele_bin=$work/bin
stele_more_toml='[processes]
network_namespace = "require"'
mkdir -m 0700 "$work/s"
{ stele_toml; } | sed 's/^\[ingest\]$/[ingest]\naddress = "192.0.2.1"/' >"$work/s/stele.toml"
start_stele "$work/s"
stele_bin=$real_bin
udp=$(port_of syslog-udp) tcp=$(port_of syslog-tcp) https=$(port_of https-json) viewer=$(port_of viewer)

# Every process says what it sees, and the kernel agrees.
same 'ready.json says where the processes live' 'empty namespace' "$(jq -r .network "$work/s/run/ready.json")"
same 'status says so too' 'empty namespace' "$(status_json | jq -r .network)"
ours=$(ip netns exec "$box" readlink /proc/self/ns/net)
for name in receive ledger anchor query web; do
  pid=$(jq -r ".pids[\"stele-$name\"]" "$work/s/run/ready.json")
  theirs=$(readlink "/proc/$pid/ns/net")
  [ "$theirs" != "$ours" ] || fail "stele-$name shares the supervisor's network"
  same "no interface of stele-$name is up" '' "$(nsenter -t "$pid" -n ip -o link show up)"
  same "stele-$name has no address" '' "$(nsenter -t "$pid" -n ip -o addr show scope global)"
  same "stele-$name has no route" '' "$(nsenter -t "$pid" -n ip route show table all | grep -v '^local\|^broadcast' || true)"
done

# In: a sender over the cable reaches the listeners that the supervisor bound in its own namespace.
on_far() { ip netns exec "$far" "$@"; }
on_far logger -n 192.0.2.1 -P "$udp" -d -t far 'the word is heron-udp'
found heron-udp 1
same 'the peer is the sender over the cable' 192.0.2.2 "$(jq -r '.rows[0].source.peer' "$work/found.json")"
on_far logger -n 192.0.2.1 -P "$tcp" -T -t far 'the word is heron-tcp'
found heron-tcp 1
same 'HTTPS ingest answers over the cable' '"ranges"' "$(on_far curl -sS --max-time 20 --insecure \
  -H 'Content-Type: application/x-ndjson' --data-binary '{"word":"heron-json"}' "https://192.0.2.1:$https/v1/events" | grep -o '"ranges"')"
found heron-json 1
same 'the viewer answers in the namespace of the supervisor' 200 "$(ip netns exec "$box" curl -sS --max-time 20 --insecure \
  -o "$work/page" -w '%{http_code}' "https://localhost:$viewer/")"

# Out: whoever owned the receiver and got past seccomp would still reach nobody, its own appliance included.
receiver=$(jq -r '.pids["stele-receive"]' "$work/s/run/ready.json")
in_receiver() { nsenter -t "$receiver" -n "$@"; }
for target in "192.0.2.2 9" "192.0.2.1 $tcp" "127.0.0.1 $tcp" "192.0.2.1 $viewer"; do
  status=0
  in_receiver timeout 5 bash -c "exec 3<>/dev/tcp/${target% *}/${target#* }" 2>"$work/out" || status=$?
  [ "$status" != 0 ] && grep -q 'unreachable' "$work/out" || fail "from inside the receiver: $target: $(cat "$work/out")"
  pass "from inside the receiver $target is unreachable"
done
on_far timeout 5 bash -c "exec 3<>/dev/tcp/192.0.2.1/$tcp" || fail 'the same connection works from the far side'
pass 'the same connection from the far side works'

# A process that is started again gets an empty network again.
kill -KILL "$receiver"
end=$((SECONDS + 20))
until again=$(jq -r '.pids["stele-receive"]' "$work/s/run/ready.json" 2>/dev/null) && [ "$again" != "$receiver" ] && [ -d "/proc/$again" ]; do
  [ "$SECONDS" -lt "$end" ] || fail 'the receiver did not come back'
  sleep 0.1
done
same 'nothing is up for the receiver that was started again' '' "$(nsenter -t "$again" -n ip -o link show up)"
on_far logger -n 192.0.2.1 -P "$udp" -d -t far 'the word is heron-again'
found heron-again 1
stop_stele || fail 'stele up did not stop cleanly'

# Off is off, and says so.
printf '[processes]\nnetwork_namespace = "off"\n' | cat <(sed '/^\[processes\]/,$d' "$work/s/stele.toml") - >"$work/off.toml"
sed -i 's/192\.0\.2\.1/127.0.0.1/' "$work/off.toml"
mkdir -m 0700 "$work/t"
cp "$work/off.toml" "$work/t/stele.toml"
start_stele "$work/t"
same 'without a namespace the status says host' host "$(status_json | jq -r .network)"
stop_stele || fail 'stele up did not stop cleanly'

# An ordinary user gets the same by way of user namespaces, where the system permits them.
as_nobody=(setpriv --reuid=65534 --regid=65534 --clear-groups)
if "${as_nobody[@]}" unshare --user --net true 2>/dev/null && "${as_nobody[@]}" test -x "$real_bin/stele-receive"; then
  cat >"$work/bin/stele" <<SH
#!/bin/sh
HOME="$work/u" exec ${as_nobody[*]} "$real_bin/stele" "\$@"
SH
  chmod 0711 "$work"
  mkdir -m 0700 "$work/u"
  stele_toml >"$work/u/stele.toml"   # still with network_namespace = "require"
  touch "$work/u/up.log"
  chown -R 65534:65534 "$work/u"
  stele_bin=$work/bin
  start_stele "$work/u"
  same 'an ordinary user: every process in an empty namespace' 'empty namespace' "$(status_json | jq -r .network)"
  receiver=$(jq -r '.pids["stele-receive"]' "$work/u/run/ready.json")
  same 'the receiver runs as that user' 65534 "$(stat -c %u "/proc/$receiver")"
  same 'nothing is up for it' '' "$(nsenter -t "$receiver" -n ip -o link show up)"
  logger -n 127.0.0.1 -P "$(port_of syslog-udp)" -d -t user 'the word is heron-user'
  found heron-user 1
  verify_says "$good_words" "$work/u"
else
  say 'not asked: an ordinary user may make no namespaces here, or cannot reach the programs'
fi
finish_test
