#!/usr/bin/env bash
# Goal: every packet that the network's policy drops is in the log once, as what it is: its reason, a scan, a crossing; and a flood costs a
# bounded number of entries while the sum stays what the rules' own counters say. Method: a Stele with its ruleset in a network namespace,
# real packets from hosts at the end of its cables, its processes stopped and killed in between. Needs root.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
[ "$(id -u)" = 0 ] || skip 'network namespaces need root'
for tool in ip nft python3; do command -v "$tool" >/dev/null || skip "$tool is not installed"; done
unshare --net nft add table inet probe 2>/dev/null || skip 'this kernel has no nf_tables, or no network namespace can be made here'
[ -x "$stele_bin/stele-test-nft" ] || skip "$stele_bin/stele-test-nft is not built"
# The appliance's network is one that ends with this script.
[ -n "${STELE_TEST_NETWORK:-}" ] || STELE_TEST_NETWORK=own exec unshare --net bash "${BASH_SOURCE[0]}"
begin_test
site="$here/violations_site.py"

wires=()
end_of_site() {
  local status=$? wire
  for wire in "${wires[@]}"; do ip netns del "$wire" 2>/dev/null || true; done
  if [ "$status" = 0 ]; then end_of_test; else (exit "$status") || end_of_test; fi
}
trap end_of_site EXIT
# cable INTERFACE ADDRESS: to a namespace in which the hosts are.
cable() {
  local wire="stele-wire-$$-$1"
  ip netns add "$wire"; wires+=("$wire")
  ip link add "$1" type veth peer name wire netns "$wire"
  sysctl -qw "net.ipv6.conf.$1.disable_ipv6=1" "net.ipv4.conf.$1.rp_filter=0"
  ip netns exec "$wire" sysctl -qw net.ipv6.conf.all.disable_ipv6=1
  ip addr add "$2" dev "$1"
  ip link set "$1" up
  ip -n "$wire" link set wire up
}
sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.ip_forward=1
ip link set lo up
cable eth0 203.0.113.5/24
cable eth1 10.20.0.1/16
cable eth9 198.51.100.1/24
ip route add 10.20.200.0/24 dev eth0  # a part of the machines' prefix that the routes have elsewhere
ip route add 10.21.0.0/16 dev eth1
ip route add 198.18.0.0/15 dev eth0
# Nobody answers for these addresses; the appliance must not wait for that.
for host in 10.20.0.10 10.20.0.11 10.20.0.12 10.20.0.13; do ip neigh add "$host" lladdr 02:00:00:00:00:01 dev eth1; done

mkdir -m 0700 "$work/s"
cat >"$work/s/stele.toml" <<'TOML'
[policy]
watch = true
watch_interval_s = 1
watch_entries_per_interval = 8
watch_entries_per_hour = 6000
[viewer]
address = "203.0.113.5"
[[zones]]
name = "machines"
interface = "eth1"
address = "10.20.0.1"
allowed_sources = ["10.20.0.0/16"]
syslog_udp_port = 514
syslog_tcp_port = 514
connections_per_source = 2
connections_per_source_per_s = 5
datagrams_per_source_per_s = 100
[[zones]]
name = "operator"
interface = "eth0"
allowed_sources = ["203.0.113.0/27"]
[[zones]]
name = "management"
interface = "eth0"
address = "203.0.113.5"
allowed_sources = ["203.0.113.32/28"]
tcp_ports = [22]
TOML
start_stele "$work/s"
watcher() { pid_in_tree "$stele_pid" stele-guard-wat; }  # as much of its name as the kernel keeps
same 'the watcher sees no network' 'empty namespace' "$(jq -r '.ready["stele-guard-watch"].network' "$stele_dir/run/ready.json")"
same 'it has no capability' '0000000000000000' "$(awk '/^CapPrm/ { print $2 }' "/proc/$(watcher)/status")"
exits_with 'another program cannot take the log groups' 1 "$stele_bin/stele-test-nft" groups
"$stele_bin/stele" policy check --ruleset "$stele_dir/stele.toml" >"$work/policy.nft"
succeeds 'the ruleset is in place' "$stele_bin/stele-test-nft" apply "$work/policy.nft"

mac_of() { ip -j link show "$1" | jq -r '.[0].address'; }  # /sys is another network's
# from INTERFACE SOURCE DESTINATION KIND PORT COUNT: packets of a host behind that interface.
from() {
  local interface=$1; shift
  ip netns exec "stele-wire-$$-$interface" python3 "$site" send "$(mac_of "$interface")" "$@"
}
alarms() { search 'kind:alarm' >"$work/alarms.json"; }
payloads() { jq -c '.rows[].payload_b64 | @base64d | fromjson' "$work/alarms.json"; }
# adds_up WHAT: waits until the entries say as much as the counters of the rules; what a killed watcher may have said twice apart.
adds_up() {
  local end=$((SECONDS + 30))
  while :; do
    if alarms && python3 "$site" sums "$work/alarms.json" >"$work/sums.json"; then
      [ "$(jq '.counted_sum <= .said_sum and .counted_sum >= .said_sum - .perhaps and .counted_sum > 0' "$work/sums.json")" != true ] || break
    fi
    [ "$SECONDS" -lt "$end" ] || { cat "$work/sums.json" >&2 || true; fail "$1: the entries do not say what the rules counted"; }
    sleep 0.2
  done
  pass "$1: entries and counters of the rules both say $(jq .said_sum "$work/sums.json")"
}
packets_of() { payloads | jq -s "[.[] | select($1) | .packets] | add // 0"; }  # packets_of CONDITION

# 1. Each reason.
from eth1 10.20.0.10 10.20.0.1 syn 4444 3
from eth1 10.21.0.66 10.20.0.1 udp 514 2
from eth1 10.20.200.5 10.20.0.1 udp 514 4
from eth1 10.20.0.10 10.20.0.1 icmp 13 5
from eth1 10.20.0.10 10.20.0.1 ack 514 6
from eth1 10.20.0.12 10.20.0.1 syn 514 5
from eth1 10.20.0.11 10.20.0.1 syn 514 60
from eth1 10.20.0.13 10.20.0.1 udp 514 600
from eth1 10.20.0.10 198.18.0.1 udp 53 7
from eth9 198.51.100.9 198.51.100.1 udp 514 8
for _ in 1 2 3; do echo out >/dev/udp/10.20.0.10/53 || true; done 2>/dev/null
adds_up 'every reason'
same 'zone and reason of each packet' "$(jq -c '.counted' "$work/sums.json" | jq -cS .)" "$(jq -c '.said' "$work/sums.json" | jq -cS .)"
for expected in machines:port=3 machines:source=2 machines:spoofed=4 machines:icmp=5 machines:invalid=6 machines:forward=7 -:interface=8; do
  same "packets of ${expected%=*}" "${expected#*=}" "$(jq --arg key "${expected%=*}" '.said[$key]' "$work/sums.json")"
done
for reason in connections rate datagrams egress; do
  [ "$(jq --arg key "machines:$reason" '.said[$key] // 0' "$work/sums.json")" -gt 0 ] || { cat "$work/sums.json"; fail "nothing was dropped for $reason"; }
done
pass 'the limits of a source are reasons too, and what may not leave is told'

# 2. What is named.
from eth1 10.20.0.20 10.20.0.1 syn 101-130 1
from eth1 10.20.0.10 203.0.113.5 syn 9443 4
from eth1 10.20.0.10 203.0.113.9 syn 80 2
from eth1 10.20.0.10 10.20.0.1 syn 22 3
adds_up 'a scan and crossings'
same 'the scan is named, with its ports' 30 "$(payloads | jq -s '[.[] | select(.alarm == "policy_scan" and .source == "10.20.0.20") | .ports] | max')"
same 'and all its packets are in entries' 30 "$(packets_of '.source == "10.20.0.20"')"
same 'who tries to reach the operators is named' 6 "$(packets_of '.alarm == "policy_crossing" and .target == "operator"')"
same 'and who tries the port of the management' 3 "$(packets_of '.alarm == "policy_crossing" and .target == "management"')"

told() { status_json | jq -e --argjson packets "$(jq .said_sum "$work/sums.json")" '.violations | .packets == $packets and .in_entries == $packets and .undelivered == 0' >/dev/null; }
end=$((SECONDS + 10))
until told; do [ "$SECONDS" -lt "$end" ] || { status_json | jq .violations; fail 'the status does not say how many packets there were'; }; sleep 0.1; done
same 'the status says how many packets there were, and a scraper is told' "$(jq .said_sum "$work/sums.json")" "$(metric stele_violations_packets_total 203.0.113.5)"
stele_cli status >"$work/status" || true
grep -q "^violations of the network policy: $(jq .said_sum "$work/sums.json") packets" "$work/status" || { cat "$work/status"; fail 'stele status does not show it'; }

# 3. The ledger is slow: nothing is lost.
ledger=$(pid_of stele-ledger)
kill -STOP "$ledger"
from eth1 10.20.0.10 10.20.0.1 syn 4444 100
sleep 2.5
kill -CONT "$ledger"
adds_up 'a ledger that stood still'

# 4. What the kernel could not deliver is counted.
kill -STOP "$(watcher)"
flood() { ip netns exec "stele-wire-$$-eth1" "$stele_bin/stele-test-flood" wire "$(mac_of eth1)" 10.21.0.0 10.20.0.1 4444 "$1"; }
flood 50000 >/dev/null
from eth0 203.0.113.9 203.0.113.5 syn 4444 5
kill -CONT "$(watcher)"
adds_up 'an overrun'
overrun=$(packets_of '.alarm == "policy_violations_uncounted" and .cause == "overrun"')
[ "$overrun" -gt 10000 ] || { payloads; fail "only $overrun packets were not delivered"; }
pass "$overrun packets that were not delivered are said to be so"
same 'and none of another interface' 5 "$(packets_of '.zone == "operator"')"

# 5. A flood of a million from 65,536 sources.
before=$(payloads | jq -s length)
counted() { python3 "$site" sums "$work/alarms.json" | jq .counted_sum; }
floor=$(($(counted) + 1000000))
began=$SECONDS
while [ "$(counted)" -lt "$floor" ]; do flood $((floor - $(counted))) >/dev/null; done
adds_up 'a flood of a million'
lasted=$((SECONDS - began + 2))
entries=$(($(payloads | jq -s length) - before))
[ "$entries" -le $((8 * lasted)) ] || fail "$entries entries in $lasted s are more than 8 each second"
pass "it is in $entries entries"

# 6. A watcher that is killed: what it had gathered is said to be gone, with its number, and nothing else is missing.
died() { packets_of '.alarm == "policy_violations_uncounted" and .cause == "watcher_died"'; }
for attempt in 1 2 3 4 5; do
  from eth1 10.20.0.10 10.20.0.1 syn 4445 50
  sleep 0.1
  kill -KILL "$(watcher)"
  from eth1 10.20.0.10 10.20.0.1 syn 4446 20  # while there is none
  adds_up "a watcher that was killed ($attempt)"
  [ "$(died)" = 0 ] || break
done
[ "$(died)" -ge 1 ] || fail 'no packets were gone with a watcher'
pass "$(died) packets were in no entry yet, and it is said"
same 'what came while there was none is told as ever' "$((20 * attempt))" "$(packets_of '.port == 4446')"

succeeds 'it stops in order' stop_stele
verify_says "$good_words"
finish_test
