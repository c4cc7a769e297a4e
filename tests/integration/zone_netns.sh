#!/usr/bin/env bash
# Goal: with --netns each zone's receiver lives in a network namespace that holds the zone's interface and nothing else: devices reach
# their own zone and no other, also when the interface was away, and everything is given back at the end.
# Method: a network namespace plays the appliance, with a real interface for one zone (a cable to a device in a namespace of its own)
# and none for the other, which gets a made pair; nsenter looks into the receivers. Needs root.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
[ "$(id -u)" = 0 ] || skip 'network namespaces need root'
for tool in ip nsenter; do command -v "$tool" >/dev/null || skip "$tool is not installed"; done
box="stele-box-$$" device="stele-dev-$$"
ip netns add "$box" 2>/dev/null || skip 'no network namespace can be made here'
begin_test
trap 'end_of_test; ip netns del "$box" 2>/dev/null; ip netns del "$device" 2>/dev/null' EXIT
ip netns add "$device"
cable() {
  ip -n "$box" link add eth1 type veth peer name cable netns "$device" || skip 'no veth pair can be made here'
  ip -n "$device" addr replace 10.20.0.9/24 dev cable
  ip -n "$device" link set cable up
}
cable
ip -n "$box" addr add 10.20.0.1/24 dev eth1
ip -n "$box" link set eth1 up
ip -n "$box" link set lo up
ip -n "$device" route add default via 10.20.0.1

mkdir "$work/bin"
real_bin=$(cd "$stele_bin" && pwd)
cat >"$work/bin/stele" <<SH
#!/bin/sh
[ "\$1" = up ] && set -- "\$@" --netns
exec ip netns exec $box "$real_bin/stele" "\$@"
SH
chmod +x "$work/bin/stele"
stele_bin=$work/bin
mkdir -m 0700 "$work/s"
cat >"$work/s/stele.toml" <<'TOML'
[viewer]
port = 0
[[zones]]
name = "machines"
interface = "eth1"
address = "10.20.0.1"
allowed_sources = ["10.20.0.0/24"]
syslog_udp_port = 0
syslog_tcp_port = 0
[[zones]]
name = "office"
interface = "eth2"
address = ["192.0.2.1", "2001:db8::1"]
allowed_sources = ["192.0.2.0/24", "2001:db8::/64"]
syslog_tcp_port = 0
TOML
start_stele "$work/s" || fail 'stele up --netns does not start'

in_box() { ip netns exec "$box" "$@"; }
on_device() { ip netns exec "$device" "$@"; }
ready() { jq -er "$1" "$work/s/run/ready.json"; }
receiver_of() { ready ".pids[\"stele-receive@$1\"]"; }
inside() { nsenter -t "$(receiver_of "$1")" -n "${@:2}"; }

same 'the receivers say what they see' '"zone namespace" "zone namespace"' \
  "$(ready '[.ready["stele-receive@machines"].network, .ready["stele-receive@office"].network] | map(tojson) | join(" ")')"
same 'everybody else sees nothing' 'empty namespace' "$(ready .network)"
same 'in machines is its interface' eth1 "$(inside machines ip -br link show up | sed 's/[ @].*//')"
same 'in office is its own' eth2 "$(inside office ip -br link show up | sed 's/[ @].*//')"
same 'the appliance itself has neither' '' "$(in_box ip -br link | grep -E '^eth[12]' || true)"
same 'the status knows both' 'true true st-office' "$(status_json | jq -r '"\(.zone_networks.machines.up) \(.zone_networks.office.up) \(.zone_networks.office.outside)"')"
same 'nothing is forwarded' 0 "$(inside machines cat /proc/sys/net/ipv4/ip_forward)"

machines_tcp=$(ready '.zones.machines.ports["syslog-tcp"]') machines_udp=$(ready '.zones.machines.ports["syslog-udp"]')
office_tcp=$(ready '.zones.office.ports["syslog-tcp"]') office_tcp6=$(ready '.zones.office.ports["syslog-tcp-2"]')
on_device bash -c "printf '<13>1 - host app 1 - - crane-tcp\n' >/dev/tcp/10.20.0.1/$machines_tcp"
on_device bash -c "printf '<13>1 - host app 1 - - crane-udp' >/dev/udp/10.20.0.1/$machines_udp"
in_box bash -c "printf '<13>1 - host app 1 - - crane-office\n' >/dev/tcp/192.0.2.1/$office_tcp"
in_box bash -c "printf '<13>1 - host app 1 - - crane-six\n' >/dev/tcp/2001:db8::1/$office_tcp6"
for word in crane-tcp crane-udp crane-office crane-six; do found "$word" 1; done
same 'the peer is the device' 10.20.0.9 "$(search crane-tcp | jq -r '.rows[0].source.peer')"
same 'the other one is the outer end of the pair' '192.0.2.2 office' "$(search crane-office | jq -r '.rows[0].source | "\(.peer) \(.zone)"')"

# From the device there is no way to the other zone nor to the viewer, and from inside a zone none to anybody else.
viewer=$(ready .ports.viewer)
unreachable() {  # unreachable WHAT COMMAND... ADDRESS PORT
  local what=$1; shift
  local port=${*: -1} address=${*: -2:1}
  ! timeout 3 "${@:1:$#-2}" bash -c "exec 3<>/dev/tcp/$address/$port" 2>/dev/null || fail "$what is reachable"
  pass "$what is out of reach"
}
unreachable 'the other zone, from a device' ip netns exec "$device" 192.0.2.1 "$office_tcp"
unreachable 'the viewer, from a device' ip netns exec "$device" 10.20.0.1 "$viewer"
unreachable 'the other zone, from inside a zone' nsenter -t "$(receiver_of machines)" -n 192.0.2.1 "$office_tcp"
unreachable 'the viewer, from inside a zone' nsenter -t "$(receiver_of machines)" -n 127.0.0.1 "$viewer"

# A receiver that is started again comes into the same namespace.
before=$(readlink "/proc/$(receiver_of machines)/ns/net") old=$(receiver_of machines)
kill -KILL "$old"
end=$((SECONDS + 20))
until new=$(receiver_of machines 2>/dev/null) && [ "$new" != "$old" ] && [ -d "/proc/$new" ]; do
  [ "$SECONDS" -lt "$end" ] || fail 'the receiver did not come back'; sleep 0.1
done
same 'the receiver is back where it was' "$before" "$(readlink "/proc/$new/ns/net")"
on_device bash -c "printf '<13>1 - host app 1 - - crane-again\n' >/dev/tcp/10.20.0.1/$machines_tcp"
found crane-again 1

# The interface goes and comes back.
ip -n "$device" link del cable
found 'kind:alarm zone_interface "is gone"' 1
cable
found 'kind:alarm zone_interface "is back"' 1
same 'it has its address again' 10.20.0.1/24 "$(inside machines ip -br addr show eth1 | grep -o '10\.20\.0\.1/24')"
end=$((SECONDS + 10))
until on_device bash -c "printf '<13>1 - host app 1 - - crane-back\n' >/dev/tcp/10.20.0.1/$machines_tcp" 2>/dev/null; do
  [ "$SECONDS" -lt "$end" ] || fail 'the device does not reach its zone again'; sleep 0.2
done
found crane-back 1

stop_stele || fail 'stele up did not stop cleanly'
same 'the interface is back with its address' 10.20.0.1/24 "$(in_box ip -br addr show eth1 | grep -o '10\.20\.0\.1/24')"
same 'the made pair is gone' '' "$(in_box ip -br link show st-office 2>/dev/null || true)"
verify_says "$good_words" "$work/s"

# What cannot be, is said.
refuses() {  # refuses WHAT SED TEXT
  mkdir -m 0700 "$work/r"
  sed "$2" "$work/s/stele.toml" >"$work/r/stele.toml"
  exits_with "$1" 2 timeout 60 "$stele_bin/stele" up --dir "$work/r"
  grep -qF -- "$3" "$work/out" || { cat "$work/out" >&2; fail "$1: not said: $3"; }
  rm -rf "$work/r"
}
refuses 'a zone without an interface is refused' '/interface = "eth2"/d' 'zone office: a network namespace of its own needs zones.interface'
refuses 'a loopback address is refused' 's/10.20.0.1"/127.0.0.1"/; s/10.20.0.0/127.0.0.0/' 'zone machines: a network namespace of its own has no loopback: 127.0.0.1'
finish_test
