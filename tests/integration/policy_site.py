"""A miniature site in network namespaces: an appliance with four cables, at the end of each a namespace that plays every host there is,
as itself or in somebody else's name. Real packets (AF_PACKET) go to every address of the appliance, to every port that the policy names and
200 others; a table behind Stele's notes which of them got through, and that must be the matrix of `stele policy check --json`.

Usage: policy_site.py FOLDER_OF_PROGRAMS SCRATCH_FOLDER        STELE_SEED=N repeats a run."""
import ctypes
import ipaddress
import itertools
import json
import os
import random
import select
import socket
import subprocess
import sys
import threading
import time

from packets import Packets

PROGRAMS, WORK = sys.argv[1], sys.argv[2]
STELE, NFT = f"{PROGRAMS}/stele", f"{PROGRAMS}/stele-test-nft"
SEED = int(os.environ.get("STELE_SEED", "0")) or int.from_bytes(os.urandom(4), "little")
LIVE_CHANGES = 100
APPLIANCE = f"stele-site-{os.getpid()}"
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
POLICY_LIMITED = (POLICY_A.replace("connections_per_source = 100000", "connections_per_source = 3")
                  .replace("connections_per_source_per_s = 500000\n[viewer]", "connections_per_source_per_s = 5\nsources_at_a_time = 512\n[viewer]"))

ADDRESSES = {"eth0": ["203.0.113.5/24", "2001:db8:f::5/64"], "eth1": ["10.20.0.1/16"],
             "eth2": ["192.0.2.10/24", "2001:db8:2::10/64"], "eth3": ["172.16.9.2/24"]}
# What is at the end of each cable: devices, operators, an archive host, and in each an attacker whom no zone allows.
HOSTS = {"eth0": ["203.0.113.9/24", "203.0.113.40/24", "203.0.113.77/24", "2001:db8:f::9/64"],
         "eth1": ["10.20.0.10/16", "10.20.0.11/16", "10.21.0.66/16"],
         "eth2": ["192.0.2.77/24", "198.51.100.9/25", "198.51.100.200/25", "2001:db8:2::77/64", "2001:db8:66::66/64"],
         "eth3": ["172.16.9.70/24", "172.16.9.66/24"]}
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


def observed(name):
    seen = set()
    for interface in INTERFACES:
        listing = json.loads(run(*inside("nft", "-j", "list", "set", "inet", "observer", f"{name}_{interface}")))["nftables"]
        elements = next(part["set"] for part in listing if "set" in part).get("elem", [])
        seen.update((interface, *element["concat"]) for element in elements)
    return seen


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


def try_to_leave(meant, ports, what):
    forget()
    for host in plain(itertools.chain(*HOSTS.values()), True):
        for port in ports:
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                with socket_of_appliance(kind) as one:
                    try:
                        one.connect((host, port))
                        one.send(b"out")
                    except OSError:
                        pass
    expected = {(row["interface"], str(network.network_address), row["protocol"], row["port"])
                for row in meant.rows("out") for network in row["networks"]}
    same(f"{what}: from the appliance exactly its flows", expected, observed("out4"))


def socket_of_appliance(kind, family=socket.AF_INET):
    one = socket_in(APPLIANCE, family, kind)
    one.setblocking(False)
    return one


class Conversation:
    """A connection from a host to a door, with a listener of ours behind it."""
    listeners = {}

    def __init__(self, interface, source, destination, port, timeout=3.0):
        family = socket.AF_INET6 if ":" in source else socket.AF_INET
        key = (destination, port)
        if key not in self.listeners:
            listener = socket_in(APPLIANCE, family, socket.SOCK_STREAM)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(key)
            listener.listen(64)
            listener.settimeout(timeout)
            self.listeners[key] = listener
        self.client = socket_in(wire(interface), family, socket.SOCK_STREAM)
        self.client.bind((source, 0))
        self.client.settimeout(timeout)
        self.client.connect(key)
        self.server = self.listeners[key].accept()[0]
        self.client.setblocking(False)
        self.server.setblocking(False)

    def says(self, word, seconds):
        """Whether the word arrives within so many seconds."""
        self.client.send(word)
        heard, end = b"", time.monotonic() + seconds
        while word not in heard and (left := end - time.monotonic()) > 0:
            if select.select([self.server], [], [], left)[0]:
                heard += self.server.recv(65536)
        return word in heard


def counted(chain, table="stele"):
    listing = json.loads(run(*inside("nft", "-j", "list", "chain", "inet", table, chain)))["nftables"]
    return [e["counter"]["packets"] for part in listing if "rule" in part for e in part["rule"]["expr"] if "counter" in e]


def change_while_packets_come(a, b, cables):
    """Datagrams that both policies allow all get through; those that neither allows never do, whatever the moment."""
    b.apply()
    forget()
    kept = Conversation("eth2", "192.0.2.77", "192.0.2.10", 6514)
    trouble = []

    def change():
        try:
            for i in range(LIVE_CHANGES):
                (a if i % 2 == 0 else b).apply()
        except SystemExit:
            trouble.append("a change failed")

    thread = threading.Thread(target=change)
    thread.start()
    allowed = Packets(cables["eth1"].macs, "10.20.0.10", "10.20.0.1")
    never = [Packets(cables["eth1"].macs, "10.21.0.66", "10.20.0.1"), Packets(cables["eth1"].macs, "10.20.0.10", "203.0.113.5")]
    said = sent = 0
    for source_port in itertools.cycle(range(1024, 65536)):
        if not thread.is_alive():
            break
        cables["eth1"].send(allowed.udp(source_port, 514))
        for packets in never:
            cables["eth1"].send(packets.udp(source_port, 9443))
            cables["eth1"].send(packets.tcp(source_port, 9443))
        sent += 1
        if sent % 200 == 0:
            said += 1
            if not kept.says(b"%d;" % said, 5):
                fail(f"word {said} of a connection that both policies allow did not arrive")
        time.sleep(0.0002)
    thread.join()
    same("every change was applied", [], trouble)
    passed = settled("in4")
    of_allowed = {(*element[:3], "udp", *element[3:]) for element in observed("arrived4") if element[1:3] == ("10.20.0.10", "10.20.0.1")}
    on_eth1 = {element for element in passed if element[0] == "eth1"}
    same(f"{LIVE_CHANGES} changes under {sent} datagrams: every one that arrived got through, and nothing else", of_allowed, on_eth1)
    if len(of_allowed) < min(sent, 64000) // 2:
        fail(f"only {len(of_allowed)} of {sent} datagrams arrived")
    ok(f"a connection that both allow said {said} words")


def revoke(a, b):
    a.apply()
    kept, lost = (Conversation("eth2", source, "192.0.2.10", 6514) for source in ("192.0.2.77", "198.51.100.9"))
    six = Conversation("eth2", "2001:db8:2::77", "2001:db8:2::10", 8443)
    same("connections are heard", [True] * 3, [one.says(b"before", 5) for one in (kept, lost, six)])
    b.apply()
    same("after a change those that it still allows are heard", [True] * 2, [one.says(b"after", 5) for one in (kept, six)])
    same("and one that it does not is not, though it was open", False, lost.says(b"after", 0.7))
    a.apply()


def limits(cables):
    limited = Meant("limited", POLICY_LIMITED)
    limited.apply()
    open_ones = []
    for _ in range(5):
        try:
            open_ones.append(Conversation("eth1", "10.20.0.11", "10.20.0.1", 514, timeout=0.4))
        except OSError:
            pass
    same("of 5 connections of one source 3 are let in", 3, len(open_ones))
    forget()
    packets = Packets(cables["eth2"].macs, "192.0.2.77", "192.0.2.10")
    for source_port in range(2000, 2300):
        cables["eth2"].send(packets.tcp(source_port, 8443))
    passed = sum(element[1] == "192.0.2.77" and element[5] == 8443 for element in settled("in4"))
    if not 1 <= passed <= 60:
        fail(f"of 300 new connections at once {passed} were let in: the rate is 5 a second, 10 at once")
    ok(f"of 300 new connections at once {passed} were let in")
    if counted("door_office")[-1] < 200:
        fail(f"the drops are not counted: {counted('door_office')}")
    ok("the others are counted")


def drift(a):
    a.apply()
    with subprocess.Popen(inside(NFT, "watch", a.rules, "restore"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as watch:
        same("the watch is ready", "ready\n", watch.stdout.readline())
        for command in ("flush chain inet stele input", 'add element inet stele zones4 { "eth1" . 10.99.0.0/16 : 1 }', "delete table inet stele"):
            began = time.monotonic()
            run(*inside("nft", command))
            told = json.loads(watch.stdout.readline())
            took = time.monotonic() - began
            same(f"{command}: said by whom", "nft", told["program"])
            if not told["differences"] or not told["restored"] or took > 2:
                fail(f"{command}: {told} after {took:.2f} s")
            ok(f"{command}: found and undone after {took:.2f} s: {told['differences'][0]}")
            run(*inside(NFT, "differs", a.rules))
        same("the observer's table is known to be none of ours", ["inet observer"], told["foreign"])
        watch.stdin.close()


def failed_apply(a):
    broken = f"{WORK}/broken.nft"
    with open(a.rules) as rules, open(broken, "w") as file:
        file.write(rules.read().replace("goto door_office", "goto nowhere"))
    refused = subprocess.run(inside(NFT, "apply", broken), capture_output=True, text=True)
    same("what the kernel cannot do is refused", 1, refused.returncode)
    if "keeps its old rules" not in refused.stderr:
        fail(f"it is not said why: {refused.stderr}")
    same("and the old rules are still there", "", run(*inside(NFT, "differs", a.rules)))


def main():
    print(f"seed {SEED}")
    random.seed(SEED)
    build_site()
    cables = {interface: Cable(interface) for interface in INTERFACES}
    a, b = Meant("a", POLICY_A), Meant("b", POLICY_B)
    named = {row["port"] for row in a.reach + b.reach if "port" in row}
    ports = sorted(named | set(random.sample(range(1, 65536), 200)))
    a.apply()
    try_everything(a, cables, ports, 40000, "policy A")
    try_to_leave(a, ports, "policy A")
    # A source that its zone allows, and that the routes have elsewhere.
    cables["eth1"].send(Packets(cables["eth1"].macs, "10.20.200.5", "10.20.0.1").udp(40010, 514))
    same("a spoofed source of an allowed prefix does not get through", set(),
         {element for element in settled("in4") if element[1] == "10.20.200.5"})
    if counted("spoofed_eth1")[0] == 0:
        fail("spoofed packets are not counted")
    b.apply()
    try_everything(b, cables, ports, 40020, "policy B")
    change_while_packets_come(a, b, cables)
    a.apply()
    try_everything(a, cables, sorted(named), 40040, "policy A, again")
    revoke(a, b)
    failed_apply(a)
    drift(a)
    limits(cables)
    print(f"the site: {checks} checks")


try:
    main()
finally:
    remove_site()
