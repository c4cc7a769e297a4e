"""A miniature site in network namespaces: an appliance with four cables, at the end of each a namespace that plays every host there is,
as itself or in somebody else's name. Real packets (AF_PACKET) go to every address of the appliance, to every port that the policy names and
200 others; a table behind Stele's notes which of them got through, and that must be the matrix of `stele policy check --json`.

Usage: policy_site.py FOLDER_OF_PROGRAMS SCRATCH_FOLDER        STELE_SEED=N repeats a run."""
import itertools
import json
import random
import select
import socket
import subprocess
import threading
import time

import miniature_site as site
from miniature_site import (HOSTS, NFT, POLICY_A, POLICY_B, SEED, WORK, Cable, Meant, build_site, counted, fail, forget, inside, observed, ok, plain,
                            remove_site, run, same, settled, socket_in, try_everything, wire)
from packets import Packets

LIVE_CHANGES = 100
POLICY_LIMITED = (POLICY_A.replace("connections_per_source = 100000", "connections_per_source = 3")
                  .replace("connections_per_source_per_s = 500000\n[viewer]", "connections_per_source_per_s = 5\nsources_at_a_time = 512\n[viewer]"))


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
    one = socket_in(site.APPLIANCE, family, kind)
    one.setblocking(False)
    return one


class Conversation:
    """A connection from a host to a door, with a listener of ours behind it."""
    listeners = {}

    def __init__(self, interface, source, destination, port, timeout=3.0):
        family = socket.AF_INET6 if ":" in source else socket.AF_INET
        key = (destination, port)
        if key not in self.listeners:
            listener = socket_in(site.APPLIANCE, family, socket.SOCK_STREAM)
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
    cables = {interface: Cable(interface) for interface in site.INTERFACES}
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
    print(f"the site: {site.checks} checks")


try:
    main()
finally:
    remove_site()
