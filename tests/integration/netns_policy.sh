#!/usr/bin/env bash
# Goal: where zones have network namespaces of their own (--netns) and the policy is enforced, the rules are in every one of them and in the one
# that everybody else is in: changed in all or in none, watched in all, and what is dropped in each becomes entries. Method: a namespace plays the
# appliance with three cables and a made pair, real packets from their ends, nft by hand in a zone's namespace. Needs root.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
[ "$(id -u)" = 0 ] || skip 'network namespaces need root'
for tool in ip nft nsenter jq; do command -v "$tool" >/dev/null || skip "$tool is not installed"; done
unshare --net nft add table inet probe 2>/dev/null || skip 'this kernel has no nf_tables, or no network namespace can be made here'
for program in stele-guard stele-test-nft; do [ -x "$stele_bin/$program" ] || skip "$stele_bin/$program is not built"; done
begin_test
box="stele-box-$$"
cables=(eth0 eth1 eth2)
end_of_site() {
  local status=$? name
  if [ "$status" = 0 ]; then end_of_test; else (exit "$status") || end_of_test; fi
  for name in "$box" "${cables[@]/#/$box-}"; do ip netns del "$name" 2>/dev/null || true; done
}
trap end_of_site EXIT
ip netns add "$box"
ip -n "$box" link set lo up
cable() {  # cable INTERFACE ADDRESS FAR_ADDRESS
  ip netns add "$box-$1" 2>/dev/null || true
  ip -n "$box" link add "$1" type veth peer name cable netns "$box-$1"
  ip -n "$box" addr add "$2" dev "$1"
  ip -n "$box" link set "$1" up
  ip -n "$box-$1" addr add "$3" dev cable
  ip -n "$box-$1" link set cable up
}
cable eth0 203.0.113.5/24 203.0.113.9/24
cable eth1 10.20.0.1/24 10.20.0.9/24
cable eth2 192.0.2.1/24 192.0.2.9/24
ip -n "$box-eth1" addr add 10.20.0.200/24 dev cable

real_bin=$(cd "$stele_bin" && pwd)
mkdir "$work/bin"
cat >"$work/bin/stele" <<SH
#!/bin/sh
[ "\$1" = up ] && set -- "\$@" --netns
exec ip netns exec $box "$real_bin/stele" "\$@"
SH
chmod +x "$work/bin/stele"
stele_bin=$work/bin
mkdir -m 0700 "$work/s"
toml="$work/s/stele.toml"
cat >"$toml" <<'TOML'
[policy]
enforce = true
restore = true
watch = true
watch_interval_s = 1
[viewer]
address = "203.0.113.5"
[[zones]]
name = "machines"
interface = "eth1"
address = "10.20.0.1"
allowed_sources = ["10.20.0.0/24"]
syslog_tcp_port = 514
[[zones]]
name = "office"
interface = "eth2"
address = "192.0.2.1"
allowed_sources = ["192.0.2.0/24"]
syslog_tcp_port = 514
[[zones]]
name = "workshop"
interface = "eth9"
address = "198.51.100.1"
allowed_sources = ["198.51.100.0/24"]
syslog_tcp_port = 514
[[zones]]
name = "operator"
interface = "eth0"
allowed_sources = ["203.0.113.0/27"]
TOML

payloads() { search "kind:$1" | jq -c '.rows[].payload_b64 | @base64d | try fromjson catch {}'; }
drifts() { payloads alarm | jq -c "select(.alarm == \"policy_drift\" and any(.differences[]; contains(\"$1\")))"; }
within() {  # within SECONDS WHAT COMMAND...: until the command says yes
  local begun end=$((SECONDS + $1)) what=$2; shift 2
  begun=$(date +%s%N)
  until "$@"; do
    [ "$SECONDS" -lt "$end" ] || fail "$what: not in time"
    sleep 0.05
  done
  pass "$what, after $((($(date +%s%N) - begun) / 1000000)) ms"
}
receiver_of() { jq -er ".pids[\"stele-receive@$1\"]" "$work/s/run/ready.json"; }
# in_network NAME COMMAND...: in a zone's namespace, or in the appliance's own.
in_network() {
  if [ "$1" = appliance ]; then ip netns exec "$box" "${@:2}"; else nsenter -t "$(receiver_of "$1")" -n "${@:2}"; fi
}
has_rules() { in_network "$1" "$real_bin/stele-test-nft" differs "$2" >"$work/differs"; }
rules_are() {  # rules_are WHAT FILE: everywhere
  "$real_bin/stele" policy check --ruleset "$2" >"$work/meant.nft" 2>/dev/null || fail "$1: $2 is no policy"
  local network
  for network in appliance machines office workshop; do
    has_rules "$network" "$work/meant.nft" || { cat "$work/differs"; fail "$1: not in $network"; }
  done
  pass "$1"
}
from() { ip netns exec "$box-$1" "${@:2}"; }  # from INTERFACE COMMAND...: at the far end of its cable
record() { from "$1" bash -c "printf '<13>1 - h a 1 - - $4\n' >/dev/tcp/$2/$3"; }
drops() { status_json | jq --arg zone "$1" --arg reason "$2" '[.policy.drops[] | select(.zone == $zone and .reason == $reason) | .packets] | add // 0'; }

# 1. The same rules everywhere; each zone is reached, and nothing else.
start_stele "$work/s" || fail 'stele up --netns with policy.enforce does not start'
rules_are 'the rules are in every zone'\''s network and in that of the rest' "$toml"
same 'the guard holds four networks' 4 "$(status_json | jq .policy.namespaces)"
same 'its sandbox is whole' '[]' "$(jq -c '.ready["stele-guard"].missing' "$work/s/run/ready.json")"
record eth1 10.20.0.1 514 by-machines
record eth2 192.0.2.1 514 by-office
found by-machines 1
found by-office 1
from eth0 bash -c 'exec 3<>/dev/tcp/203.0.113.5/9443' || fail 'the operators do not reach the viewer'
! timeout 2 ip netns exec "$box" bash -c 'exec 3<>/dev/tcp/198.51.100.1/514' 2>/dev/null || fail 'the outer end of a made pair is a way in'
pass 'the outer end of a made pair is the interface of no zone'
for _ in 1 2 3; do from eth1 bash -c 'printf x >/dev/udp/10.20.0.1/4444'; done
dropped() { [ "$(payloads alarm | jq -s 'map(select(.zone == "machines" and .port == 4444) | .packets) | add // 0')" = 3 ]; }
within 10 'what is dropped in a zone is an entry, each packet once' dropped
counted() { [ "$(drops machines port)" = 3 ]; }
within 10 'and in the counts of the status' counted

# 2. A change: everywhere, under an open connection that stays and one that does not.
open_one() {  # open_one SOURCE WORD
  from eth1 python3 -c 'import os, socket, sys, time
one = socket.create_connection(("10.20.0.1", 514), source_address=(sys.argv[1], 0))
one.sendall(b"<13>1 - h a 1 - - before-%s\n" % sys.argv[2].encode())
while not os.path.exists(sys.argv[3]): time.sleep(0.05)
one.sendall(b"<13>1 - h a 1 - - after-%s\n" % sys.argv[2].encode())
time.sleep(1)' "$1" "$2" "$work/changed" &
}
open_one 10.20.0.9 kept; open_one 10.20.0.200 closed
found before-kept 1
found before-closed 1
sed 's/10.20.0.0\/24/10.20.0.0\/25/' "$toml" >"$work/half.toml"
succeeds 'a change is applied' "$real_bin/stele" policy apply "$work/half.toml" --why 'the other half has moved' --dir "$work/s"
rules_are 'in every network' "$work/half.toml"
touch "$work/changed"
found after-kept 1
closed() { [ "$(drops machines source)" -gt 0 ]; }
within 10 'what the open connection of the other half says is dropped' closed
found after-closed 0
same 'it was carried out once' 2 "$(payloads policy | jq -s 'map(select(.event == "policy_applied")) | length')"

# 3. Rules changed by hand in a zone's network, and in the other one.
for network in machines appliance; do
  in_network "$network" nft add element inet stele zones4 '{ "eth1" . 198.18.0.0/15 : 1 }'
  within 2 "what nft added in $network is gone" has_rules "$network" "$work/meant.nft"
  said() { [ -n "$(drifts "network namespace $network: ")" ]; }
  within 5 'and said, with its network' said
done
in_network office nft delete table inet stele
within 2 'a table that was deleted in office is back' has_rules office "$work/meant.nft"

# 4. One kernel table refuses: none is changed.
nft_owner() { in_network office nft -i 2>&1; }
if coproc OWNER { nft_owner; } && printf 'delete table inet stele; add table inet stele { flags owner; }\n' >&"${OWNER[1]}" &&
   sleep 0.5 && in_network office nft list table inet stele 2>/dev/null | grep -q owner; then
  exits_with 'a table that the kernel does not give' 1 "$real_bin/stele" policy apply "$toml" --why 'not now' --dir "$work/s"
  grep -q 'network namespace office' "$work/out" || { cat "$work/out"; fail 'it is not said where'; }
  for network in machines appliance; do has_rules "$network" "$work/meant.nft" || { cat "$work/differs"; fail "the change is in $network all the same"; }; done
  pass 'the others have the old rules'
  kill "$OWNER_PID"
  within 8 'and it has them back' has_rules office "$work/meant.nft"
else
  say 'nft here knows no owner of a table: the refusal by the kernel is not tried'
  [ -z "${OWNER_PID:-}" ] || kill "$OWNER_PID" 2>/dev/null || true
fi

# 5. A guard that was killed holds all of them again; so does an interface that was away.
guard=$(pid_of stele-guard)
kill -KILL "$guard"
back() { local now; now=$(pid_of stele-guard) && [ "$now" != "$guard" ] && [ "$(status_json | jq -r '.policy | "\(.state) \(.namespaces)"')" = 'in_force 4' ]; }
within 10 'another guard holds four networks' back
in_network machines nft add element inet stele zones4 '{ "eth1" . 198.18.0.0/15 : 1 }'
within 2 'and watches them' has_rules machines "$work/meant.nft"
ip -n "$box-eth1" link del cable
found 'kind:alarm zone_interface "is gone"' 1
cable eth1 10.20.0.1/24 10.20.0.9/24
found 'kind:alarm zone_interface "is back"' 1
again() { record eth1 10.20.0.1 514 by-machines-again 2>/dev/null; }
within 10 'the interface that came back is under the same rules' again
found by-machines-again 1
rules_are 'as before' "$work/half.toml"

# 6. A restart: new networks, the policy in force, before anything listens; and nothing is taken for a change by others.
said=$(payloads alarm | jq -c 'select(.alarm == "policy_drift")' | wc -l)
succeeds 'stele up stops cleanly' stop_stele
start_stele "$work/s"
rules_are 'the policy in force is in the new networks' "$work/half.toml"
same 'no drift was said' "$said" "$(payloads alarm | jq -c 'select(.alarm == "policy_drift")' | wc -l)"
record eth1 10.20.0.1 514 after-restart
found after-restart 1
succeeds 'stele up stops cleanly again' stop_stele
verify_says "$good_words" "$work/s"
finish_test
