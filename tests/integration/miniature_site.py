"""What the tests of the miniature site share: an appliance with four cables in network namespaces, hosts at their ends, packets in anybody's
name, a table behind Stele's that notes which of them got through, and what the policy's matrix says of each.

The first two arguments of the program are the folder of Stele's programs and a scratch folder. STELE_SEED=N repeats a run, STELE_SITE names
the namespaces."""
import ctypes
import ipaddress
import itertools
import json
import os
import random
import socket
import subprocess
import sys
import time

from packets import Packets

PROGRAMS, WORK = sys.argv[1], sys.argv[2]
STELE, NFT = f"{PROGRAMS}/stele", f"{PROGRAMS}/stele-test-nft"
SEED = int(os.environ.get("STELE_SEED", "0")) or int.from_bytes(os.urandom(4), "little")
APPLIANCE = os.environ.get("STELE_SITE", f"stele-site-{os.getpid()}")
INTERFACES = ["eth0", "eth1", "eth2", "eth3"]

POLICY_A = """
[ingest]
connections_per_source = 100000
connections_per_source_per_s = 500000
[viewer]
address = "203.0.113.5"
[[zones]]
name = "machines"
interface = "eth1"
address = "10.20.0.1"
allowed_sources = ["10.20.0.0/16"]
syslog_udp_port = 514
syslog_tcp_port = 514
[[zones]]
name = "office"
interface = "eth2"
address = ["192.0.2.10", "2001:db8:2::10"]
allowed_sources = ["192.0.2.0/24", "198.51.100.0/25", "2001:db8:2::/64"]
syslog_tls_port = 6514
https_json_port = 8443
syslog_udp_port = 1514
[[zones]]
name = "operator"
interface = "eth0"
allowed_sources = ["203.0.113.0/27"]
connections_per_source_per_s = 500000
[[zones]]
name = "management"
interface = "eth0"
address = ["203.0.113.5", "2001:db8:f::5"]
allowed_sources = ["203.0.113.32/28", "2001:db8:f::/64"]
tcp_ports = [22]
connections_per_source_per_s = 500000
[[zones]]
name = "archive"
interface = "eth3"
address = "172.16.9.2"
[[zones.flows]]
name = "s3"
to = "172.16.9.70"
tcp_ports = [443]
udp_ports = [4433]
"""
POLICY_B = (POLICY_A.replace('"198.51.100.0/25", ', "").replace("syslog_tcp_port = 514\n", "")
            .replace("https_json_port = 8443", "https_json_port = 8443\nrelp_port = 2514").replace("[443]", "[8443]"))

ADDRESSES = {"eth0": ["203.0.113.5/24", "2001:db8:f::5/64"], "eth1": ["10.20.0.1/16"],
             "eth2": ["192.0.2.10/24", "2001:db8:2::10/64"], "eth3": ["172.16.9.2/24"]}
# What is at the end of each cable: devices, operators, an archive host, and in each an attacker whom no zone allows.
HOSTS = {"eth0": ["203.0.113.9/24", "203.0.113.40/24", "203.0.113.77/24", "2001:db8:f::9/64"],
         "eth1": ["10.20.0.10/16", "10.20.0.11/16", "10.21.0.66/16"],
         "eth2": ["192.0.2.77/24", "198.51.100.9/25", "198.51.100.200/25", "2001:db8:2::77/64", "2001:db8:66::66/64"],
         "eth3": ["172.16.9.70/24", "172.16.9.66/24"]}
TALKERS = set()  # sources that send of their own accord: what they send is not looked at
ROUTES = {"eth1": ["10.21.0.0/16"], "eth2": ["198.51.100.0/24", "2001:db8:66::/64"], "eth0": ["10.20.200.0/24"]}

# What got through, by interface: nft 1.0.6 garbles elements that packets add when they name one.
SEEN = {"in4": "ipv4_addr . ipv4_addr . inet_proto . inet_service . inet_service", "in6": "ipv6_addr . ipv6_addr . inet_proto . inet_service . inet_service",
        "arrived4": "ipv4_addr . ipv4_addr . inet_service . inet_service", "echo4": "ipv4_addr . ipv4_addr", "echo6": "ipv6_addr . ipv6_addr",
        "out4": "ipv4_addr . inet_proto . inet_service"}


def observer():
    sets, rules = "", {"prerouting": "", "input": "", "output": ""}
    for interface in INTERFACES:
        for name, kind in SEEN.items():
            sets += f"set {name}_{interface} {{ type {kind}; size 131072; flags dynamic; }}\n"
        came = f'iifname "{interface}"'
        rules["prerouting"] += f"{came} udp sport 1024-65535 add @arrived4_{interface} {{ ip saddr . ip daddr . udp sport . udp dport }}\n"
        for ip, digit in (("ip", 4), ("ip6", 6)):
            rules["input"] += (f"{came} meta l4proto {{ tcp, udp }} add @in{digit}_{interface} {{ {ip} saddr . {ip} daddr . meta l4proto . th sport . th dport }}\n"
                               f"{came} {'icmp' if digit == 4 else 'icmpv6'} type echo-request add @echo{digit}_{interface} {{ {ip} saddr . {ip} daddr }}\n")
        rules["output"] += f'oifname "{interface}" meta l4proto {{ tcp, udp }} add @out4_{interface} {{ ip daddr . meta l4proto . th dport }}\n'
    chains = "".join(f"chain {hook} {{\ntype filter hook {hook} priority {-350 if hook == 'prerouting' else 10};\n{text}}}\n" for hook, text in rules.items())
    return f"table inet observer {{\n{sets}{chains}chain forwarded {{\ntype filter hook forward priority 10;\ncounter\n}}\n}}\n"


libc = ctypes.CDLL(None, use_errno=True)
checks = 0


def ok(what):
    global checks
    checks += 1
    print(f"ok: {what}", flush=True)


def fail(what):
    print(f"FAILED: {what} (STELE_SEED={SEED})", file=sys.stderr, flush=True)
    raise SystemExit(1)


def same(what, expected, found):
    if expected != found:
        if isinstance(expected, set):
            fail(f"{what}: missing {sorted(expected - found)[:5]}, beside it {sorted(found - expected)[:5]}")
        fail(f"{what}: expected {expected}, found {found}")
    ok(what)


def run(*command, **kwargs):
    done = subprocess.run(command, capture_output=True, text=True, **kwargs)
    if done.returncode != 0:
        fail(f"{' '.join(command)} ends with {done.returncode}: {done.stderr[:400]}")
    return done.stdout


def inside(*command):
    return ("ip", "netns", "exec", APPLIANCE, *command)


def wire(interface):  # the namespace at the other end
    return f"{APPLIANCE}-{interface}"


def socket_in(namespace, *arguments):
    """A socket stays in the namespace that it was made in."""
    def enter(path):
        with open(path) as file:
            if libc.setns(file.fileno(), 0x40000000) != 0:
                raise OSError(ctypes.get_errno(), path)
    with open("/proc/self/ns/net") as home:
        enter(f"/run/netns/{namespace}")
        try:
            return socket.socket(*arguments)
        finally:
            if libc.setns(home.fileno(), 0x40000000) != 0:
                os._exit(1)


def build_site():
    run("ip", "netns", "add", APPLIANCE)
    for interface in INTERFACES:
        run("ip", "netns", "add", wire(interface))
        run("ip", "-n", APPLIANCE, "link", "add", interface, "type", "veth", "peer", "name", "wire", "netns", wire(interface))
        run("ip", "netns", "exec", APPLIANCE, "sysctl", "-qw", f"net.ipv4.conf.{interface}.rp_filter=0", "net.ipv4.conf.all.rp_filter=0",
            "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1", f"net.ipv6.conf.{interface}.accept_dad=0")
        run("ip", "netns", "exec", wire(interface), "sysctl", "-qw", "net.ipv6.conf.wire.accept_dad=0")
        for name, end, addresses in ((APPLIANCE, interface, ADDRESSES[interface]), (wire(interface), "wire", HOSTS[interface])):
            for address in addresses:
                run("ip", "-n", name, "addr", "add", address, "dev", end, *(["nodad"] if ":" in address else []))
            run("ip", "-n", name, "link", "set", end, "up")
            run("ip", "-n", name, "link", "set", "lo", "up")
    for interface, routes in ROUTES.items():
        for route in routes:
            run("ip", "-n", APPLIANCE, "route", "add", route, "dev", interface)
    run("ip", "-n", wire("eth2"), "route", "add", "192.0.2.10", "dev", "wire", "src", "192.0.2.77", "metric", "1")
    run(*inside("nft", "-f", "-"), input=observer())


def remove_site():
    for name in [APPLIANCE] + [wire(interface) for interface in INTERFACES]:
        subprocess.run(("ip", "netns", "del", name), capture_output=True)


class Cable:
    def __init__(self, interface):
        self.socket = socket_in(wire(interface), socket.AF_PACKET, socket.SOCK_RAW)
        self.socket.bind(("wire", 0))
        mac = lambda namespace, name: bytes.fromhex(json.loads(run("ip", "-j", "-n", namespace, "link", "show", name))[0]["address"].replace(":", ""))
        self.macs = mac(APPLIANCE, interface) + mac(wire(interface), "wire")

    def send(self, frame):
        while True:
            try:
                return self.socket.send(frame)
            except OSError:  # no room in the queue for a moment
                time.sleep(0.001)


# --- what is meant, and what is

class Meant:
    def __init__(self, name, toml):
        self.file, self.rules = f"{WORK}/{name}.toml", f"{WORK}/{name}.nft"
        with open(self.file, "w") as file:
            file.write(toml)
        self.reach = json.loads(run(*inside(STELE, "policy", "check", "--json", "--here", self.file)))["reach"]
        for row in self.reach:
            row["networks"] = [ipaddress.ip_network(peer) for peer in row["peers"]]
        with open(self.rules, "w") as file:
            file.write(run(STELE, "policy", "check", "--ruleset", self.file))

    def apply(self):
        run(*inside(NFT, "apply", self.rules))

    def rows(self, direction):
        return [row for row in self.reach if row["direction"] == direction]

    def admits(self, interface, source, destination, protocol, port):
        peer = ipaddress.ip_address(source)
        return any(row["interface"] == interface and row["address"] == destination and row["protocol"] == protocol and row["port"] == port and
                   any(peer in network for network in row["networks"]) for row in self.rows("in"))


def elements(table, name):
    """Of the table's sets of that name, one for each interface."""
    seen = set()
    for interface in INTERFACES:
        listing = json.loads(run(*inside("nft", "-j", "list", "set", "inet", table, f"{name}_{interface}")))["nftables"]
        found = next(part["set"] for part in listing if "set" in part).get("elem", [])
        seen.update((interface, *element["concat"]) for element in found)
    return {element for element in seen if element[1] not in TALKERS}


def observed(name):
    return elements("observer", name)


def forget():
    run(*inside("nft", "-f", "-"), input="".join(f"flush set inet observer {name}_{interface}\n" for name in SEEN for interface in INTERFACES))


def settled(name):
    """What is queued on a veth is delivered before long: wait until nothing is added any more."""
    before = None
    while (now := observed(name)) != before:
        before = now
        time.sleep(0.05)
    return now


def plain(addresses, v4):
    return [text for text in (address.split("/")[0] for address in addresses) if (":" not in text) == v4]


def try_everything(meant, cables, ports, source_port, what):
    forget()
    sent = 0
    expected = {4: set(), 6: set()}
    echoes = {4: set(), 6: set()}
    for version in (4, 6):
        sources = plain(itertools.chain(*HOSTS.values()), version == 4)
        destinations = plain(itertools.chain(*ADDRESSES.values()), version == 4)
        for interface, source, destination in itertools.product(INTERFACES, sources, destinations):
            packets, cable = Packets(cables[interface].macs, source, destination), cables[interface]
            for port in ports:
                cable.send(packets.tcp(source_port, port))
                cable.send(packets.udp(source_port, port))
                for protocol in ("tcp", "udp"):
                    if meant.admits(interface, source, destination, protocol, port):
                        expected[version].add((interface, source, destination, protocol, source_port, port))
                sent += 2
            for port in (514, 1514, 6514):
                for frame in packets.fragments(source_port + 1, port):
                    cable.send(frame)
                if meant.admits(interface, source, destination, "udp", port):
                    expected[version].add((interface, source, destination, "udp", source_port + 1, port))
                sent += 1
            cable.send(packets.echo())
            sent += 1
            peer = ipaddress.ip_address(source)
            if any(row["interface"] == interface and row["address"] == destination and any(peer in n for n in row["networks"]) for row in meant.rows("echo")):
                echoes[version].add((interface, source, destination))
    same(f"{what}: of {sent} packets exactly those of the matrix got through (IPv4)", expected[4], settled("in4"))
    same(f"{what}: and of IPv6", expected[6], settled("in6"))
    same(f"{what}: echo requests (IPv4)", echoes[4], settled("echo4"))
    same(f"{what}: echo requests (IPv6)", echoes[6], settled("echo6"))
    same(f"{what}: nothing was forwarded", [0], counted("forwarded", "observer"))
    if not expected[4] or not expected[6]:
        fail(f"{what}: nothing got through at all")


def counted(chain, table="stele"):
    listing = json.loads(run(*inside("nft", "-j", "list", "chain", "inet", table, chain)))["nftables"]
    return [e["counter"]["packets"] for part in listing if "rule" in part for e in part["rule"]["expr"] if "counter" in e]
