#!/usr/bin/env bash
# Usage: tests/browser/network.sh [SCREENSHOTS]
#
# Goal: the Network screen shows what stele-guard and stele-guard-watch really write. Method: a `stele up` that enforces and watches its policy, in a
# network namespace with a cable to a peer; a change, a drift, packets that are dropped; then enforced_page.mjs. Needs root. Variables as in run.sh.
. "$(dirname "${BASH_SOURCE[0]}")/../integration/lib.sh"
[ "$(id -u)" = 0 ] || skip 'network namespaces need root'
for tool in ip nft nsenter jq node; do command -v "$tool" >/dev/null || skip "$tool is not installed"; done
if [ -z "${STELE_IN_NAMESPACE:-}" ]; then
  unshare --net nft add table inet probe 2>/dev/null || skip 'this kernel has no nf_tables, or no network namespace can be made here'
  STELE_IN_NAMESPACE=1 exec unshare --net bash "$0" "$@"
fi
screenshots=${1:-$root/build/browser}
chromium=${STELE_CHROMIUM:-$(command -v chromium || true)}
[ -x "$chromium" ] || fail 'there is no chromium; run scripts/packages --for test, or set STELE_CHROMIUM'
[ -d "$root/tests/browser/node_modules/playwright-core" ] || fail 'tests/browser/run.sh comes first: it installs the browser driver'
begin_test

ip link set lo up
unshare --net sleep 300 &
peer=$!
until [ "$(readlink "/proc/$peer/ns/net")" != "$(readlink "/proc/$$/ns/net")" ]; do sleep 0.02; done
at_peer() { nsenter -t "$peer" -n "$@"; }
sysctl -qw net.ipv6.conf.default.disable_ipv6=1  # nothing is dropped but what this test sends
at_peer sysctl -qw net.ipv6.conf.default.disable_ipv6=1
ip link add eth0 type veth peer name office netns "$peer"
ip addr add 203.0.113.5/24 dev eth0
ip link set eth0 up
ip link add eth1 type veth peer name far netns "$peer"
ip addr add 10.20.0.1/16 dev eth1
ip link set eth1 up
at_peer ip addr add 10.20.0.20/16 dev far
at_peer ip link set far up
at_peer ip route add 203.0.113.0/24 via 10.20.0.1

mkdir -p -m 0700 "$work/s"
toml="$work/s/stele.toml"
cat >"$toml" <<'TOML'
[viewer]
address = "203.0.113.5"
[policy]
enforce = true
restore = true
watch = true
watch_interval_s = 1
[[zones]]
name = "plant"
interface = "eth1"
address = "10.20.0.1"
allowed_sources = ["10.20.0.0/16"]
syslog_tcp_port = 514
[[zones]]
name = "operator"
interface = "eth0"
allowed_sources = ["203.0.113.0/27"]
TOML
start_stele "$work/s"
alarms() { search 'kind:alarm' | jq -c ".rows[].payload_b64 | @base64d | fromjson | select(.alarm == \"$1\")"; }
dropped() { search 'kind:alarm' | jq '[.rows[].payload_b64 | @base64d | fromjson | .packets // 0] | add // 0'; }
until_is() {  # until_is WHAT EXPECTED COMMAND...
  local what=$1 expected=$2 end=$((SECONDS + 20)) got; shift 2
  until got=$("$@") && [ "$got" = "$expected" ]; do
    [ "$SECONDS" -lt "$end" ] || fail "$what: $got, not $expected"
    sleep 0.2
  done
  pass "$what: $expected"
}

sed 's/^syslog_tcp_port = 514/syslog_tcp_port = 514\nrelp_port = 2514/' "$toml" >"$work/relp.toml"
succeeds 'a change is applied' "$stele_bin/stele" policy apply "$work/relp.toml" --why 'RELP for the plant' --dir "$work/s"
nft add element inet stele zones4 '{ "eth1" . 198.18.0.0/15 : 1 }'
restored() { alarms policy_restored | wc -l; }
until_is 'drift is found and put back' 1 restored
for port in $(seq 101 130); do at_peer bash -c "printf x >/dev/udp/10.20.0.1/$port"; done
for _ in 1 2 3 4; do at_peer bash -c 'printf x >/dev/udp/203.0.113.5/9443'; done
at_peer ip addr add 10.20.0.21/16 dev far
at_peer ip route replace 10.20.0.1 dev far src 10.20.0.21
for _ in 1 2 3; do at_peer bash -c 'printf x >/dev/udp/10.20.0.1/4444'; done
until_is 'dropped packets in entries' 37 dropped
wait_checkpointed

user=auditor
password=$(awk -v user="$user" '$1 == user { print $2 }' "$work/s/keys/first-passwords")
mkdir -p "$screenshots"
cd "$root/tests/browser" || exit 1
node enforced_page.mjs --url "https://203.0.113.5:$(port_of viewer)/" --user "$user" --password "$password" --packets 37 --chromium "$chromium" \
  --scratch "$screenshots" || fail 'the Network screen did not hold every check (above)'
pass 'the Network screen shows what the daemons wrote'
succeeds 'stele up stops cleanly' stop_stele
kill "$peer" 2>/dev/null || true
finish_test
