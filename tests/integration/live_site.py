"""The miniature site with a Stele that runs in it, while its policy changes (live_policy.sh starts and stops both).

Usage: live_site.py FOLDER_OF_PROGRAMS SCRATCH_FOLDER build | remove | run CHANGES RANDOM_PORTS DIRECTORY
`run` holds the matrix against real packets before, during and after so many changes by `stele policy apply`, and leaves in the scratch
folder the messages that were acknowledged (acknowledged) and those that a device was given, which never gives one up (given)."""
import collections
import functools
import itertools
import json
import random
import select
import socket
import subprocess
import sys
import threading
import time

import miniature_site as site
from miniature_site import (ADDRESSES, HOSTS, INTERFACES, POLICY_A, SEED, STELE, WORK, Cable, Meant, build_site, elements, fail, forget, inside, ok, plain,
                            remove_site, run, same, settled, socket_in, try_everything, wire)
from packets import Packets

# What both policies allow all the while: RELP from two zones. What one of them alone allows: a prefix, a listener, a flow.
LIVE_A = ("[policy]\nenforce = true\nrestore = true\n" +
          POLICY_A.replace("syslog_tcp_port = 514\n", "syslog_tcp_port = 514\nrelp_port = 2514\n")
          .replace("https_json_port = 8443\n", "https_json_port = 8443\nrelp_port = 2515\n"))
LIVE_B = (LIVE_A.replace('"198.51.100.0/25", ', "").replace("syslog_tcp_port = 514\n", "json_lines_tls_port = 6515\n")
          .replace("tcp_ports = [443]", "tcp_ports = [8443]"))
# Who sends records: nobody probes in their names, so that their packets can be counted. (interface, source, destination, port)
SENDERS = [("eth1", "10.20.0.12", "10.20.0.1", 2514), ("eth2", "2001:db8:2::78", "2001:db8:2::10", 2515)]
DEVICE = ("eth1", "10.20.0.13", "10.20.0.1")  # rsyslog
site.TALKERS.update({DEVICE[1], *(source for _, source, _, _ in SENDERS)})
WINDOW = 64           # messages without an answer
MESSAGES_PER_S = 400  # of each sender
ANSWER_S = 30


def counters():
    """Packets of the senders' connections before Stele's table and behind it, in and out."""
    rules = {(hook, where): "" for hook in ("input", "output") for where in ("before", "behind")}
    for interface, source, destination, port in SENDERS:
        ip = "ip6" if ":" in source else "ip"
        for where in ("before", "behind"):
            rules["input", where] += f'iifname "{interface}" {ip} saddr {source} {ip} daddr {destination} tcp dport {port} counter\n'
            rules["output", where] += f'oifname "{interface}" {ip} daddr {source} {ip} saddr {destination} tcp sport {port} counter\n'
    chains = "".join(f"chain {hook}_{where} {{\ntype filter hook {hook} priority {-10 if where == 'before' else 10};\n{text}}}\n"
                     for (hook, where), text in rules.items())
    return f"table inet kept {{\n{chains}}}\n"


def arrivals():
    """What came in at all, of the probes that are marked by their source port: what the matrix allows must be among what got through."""
    sets, rules = "", ""
    for interface in INTERFACES:
        for ip, digit in (("ip", 4), ("ip6", 6)):
            sets += (f"set arrived{digit}_{interface} {{ type ipv{digit}_addr . ipv{digit}_addr . inet_proto . inet_service . inet_service; "
                     "size 131072; flags dynamic; }\n")
            rules += (f'iifname "{interface}" meta l4proto {{ tcp, udp }} th sport 50000-59999 '
                      f"add @arrived{digit}_{interface} {{ {ip} saddr . {ip} daddr . meta l4proto . th sport . th dport }}\n")
    return f"table inet arrivals {{\n{sets}chain arrivals {{\ntype filter hook prerouting priority -350;\n{rules}}}\n}}\n"


def build():
    build_site()
    for interface, address in (("eth1", "10.20.0.12/16"), ("eth1", "10.20.0.13/16"), ("eth2", "2001:db8:2::78/64")):
        run("ip", "-n", wire(interface), "addr", "add", address, "dev", "wire", *(["nodad"] if ":" in address else []))
    run("ip", "-n", wire("eth1"), "route", "add", DEVICE[2], "dev", "wire", "src", DEVICE[1], "metric", "1")
    run(*inside("nft", "-f", "-"), input=counters() + arrivals())
    with open(f"{WORK}/stele.toml", "w") as file:
        file.write(LIVE_A)


class RelpSender(threading.Thread):
    """One RELP session, by hand: sends until it is told to end, then waits for every answer. Never connects a second time."""

    def __init__(self, name, interface, source, destination, port):
        super().__init__()
        self.label, self.end = name, threading.Event()
        self.acknowledged, self.error, self.slowest = [], None, 0.0
        self.waiting, self.input, self.number = collections.OrderedDict(), b"", 0
        self.socket = socket_in(wire(interface), socket.AF_INET6 if ":" in source else socket.AF_INET, socket.SOCK_STREAM)
        self.socket.bind((source, 0))
        self.socket.settimeout(10)
        self.socket.connect((destination, port))
        self.command(b"open", b"relp_version=0\ncommands=syslog")

    def command(self, name, data):
        self.number += 1
        self.waiting[self.number] = (data, time.monotonic())
        self.socket.sendall(b"%d %s %d %s\n" % (self.number, name, len(data), data))

    def answers(self):
        """The whole answers of what has been read: number, code and text."""
        while b" " in self.input:
            head = self.input.split(b" ", 3)
            if len(head) < 3 or (len(head) == 3 and not head[2].strip().isdigit()):
                return
            size = int(head[2].split(b"\n")[0])
            start = len(head[0]) + len(head[1]) + len(head[2]) + 3
            if len(self.input) < start + size + 1:
                return
            yield int(head[0]), head[1], self.input[start:start + size]
            self.input = self.input[start + size + 1:]

    def read(self, seconds):
        if not select.select([self.socket], [], [], seconds)[0]:
            return
        got = self.socket.recv(65536)
        if not got:
            raise OSError("the session ended")
        self.input += got
        for number, verb, text in self.answers():
            data, since = self.waiting.pop(number)
            if verb != b"rsp" or not text.startswith(b"200"):
                raise OSError(f"answer {verb} {text[:60]}")
            self.slowest = max(self.slowest, time.monotonic() - since)
            if number > 1:
                self.acknowledged.append(data.decode())

    def run(self):
        try:
            begun = time.monotonic()
            while not self.end.is_set():
                due = int((time.monotonic() - begun) * MESSAGES_PER_S) - self.number
                for _ in range(min(due, WINDOW - len(self.waiting))):
                    self.command(b"syslog", b"<13>1 - h a 1 - - live-%s-%d" % (self.label.encode(), self.number))
                self.read(0.01)
            end = time.monotonic() + ANSWER_S
            while self.waiting:
                if time.monotonic() > end:
                    raise OSError(f"{len(self.waiting)} messages have no answer")
                self.read(1)
        except (OSError, ValueError, KeyError) as error:
            self.error = f"{self.label}: {error}"


class Device(threading.Thread):
    """Hands messages to the rsyslog at the end of a cable, until it is told to end."""

    def __init__(self, port):
        super().__init__()
        self.end, self.given = threading.Event(), []
        self.socket = socket_in(wire("eth1"), socket.AF_INET, socket.SOCK_STREAM)
        self.socket.connect(("127.0.0.1", port))

    def run(self):
        while not self.end.is_set():
            message = f"<13>1 - h a 1 - - live-rsyslog-{len(self.given) + 1}"
            self.socket.sendall(f"{len(message)} {message}".encode())
            self.given.append(message)
            time.sleep(1 / MESSAGES_PER_S)


class Probes(threading.Thread):
    """Every pair of addresses with every port that a policy names, and a quarter of the others, again and again, until it is told to end.
    Those that both policies allow have source ports from 50000 on, the others from 30000."""

    def __init__(self, a, b, cables, named, others):
        super().__init__()
        self.a, self.b, self.cables, self.named, self.others = a, b, cables, sorted(named), others
        self.end, self.sent = threading.Event(), 0

    def run(self):
        for round_number in range(10000):
            for version in (4, 6):
                sources = plain(itertools.chain(*HOSTS.values()), version == 4)
                destinations = plain(itertools.chain(*ADDRESSES.values()), version == 4)
                pairs = list(itertools.product(INTERFACES, sources, destinations))
                random.shuffle(pairs)
                for interface, source, destination in pairs:
                    if self.end.is_set():
                        return
                    self.probe(interface, source, destination, round_number)

    def probe(self, interface, source, destination, round_number):
        packets, cable = Packets(self.cables[interface].macs, source, destination), self.cables[interface]
        allowed = self.allowed_by_both(interface, source, destination)
        for port in self.named + self.others[round_number % 4::4]:
            for protocol, make in (("tcp", packets.tcp), ("udp", packets.udp)):
                cable.send(make((50000 if (protocol, port) in allowed else 30000) + round_number, port))
                self.sent += 1

    @functools.lru_cache(maxsize=None)
    def allowed_by_both(self, *pair):
        return {(protocol, port) for protocol in ("tcp", "udp") for port in self.named
                if self.a.admits(*pair, protocol, port) and self.b.admits(*pair, protocol, port)}


def kept(where):
    return site.counted(f"input_{where}", "kept") + site.counted(f"output_{where}", "kept")


def settled_kept():
    before = None
    while (now := (kept("before"), kept("behind"))) != before:
        before = now
        time.sleep(0.05)
    return now


def change(changes, files, directory):
    """The changes, one after the other, as an operator makes them. How long each took, and what each answered."""
    took, answers = [], []
    for number in range(changes):
        began = time.monotonic()
        done = subprocess.run((STELE, "policy", "apply", files[(number + 1) % 2], "--why", f"live change {number + 1}", "--dir", directory, "--json"),
                              capture_output=True, text=True)
        took.append(time.monotonic() - began)
        if done.returncode != 0:
            fail(f"change {number + 1} ends with {done.returncode}: {done.stdout[:400]} {done.stderr[:400]}")
        answers.append(json.loads(done.stdout))
    return took, answers


def change_under_load(a, b, cables, named, others, changes, directory):
    forget()
    senders = [RelpSender(*sender) for sender in zip(("four", "six"), *zip(*SENDERS))]
    device, probes = Device(5514), Probes(a, b, cables, named, others)
    everybody = [*senders, device, probes]
    for one in everybody:
        one.start()
    try:
        began = time.monotonic()
        took, answers = change(changes, (a.file, b.file), directory)
        lasted = time.monotonic() - began
    finally:
        for one in everybody:
            one.end.set()
        for one in everybody:
            one.join()
    same(f"{changes} changes were applied", ["applied"] * changes, [answer["result"] for answer in answers])
    took.sort()
    ok(f"in {lasted:.1f} s: each took {took[0] * 1000:.0f} to {took[-1] * 1000:.0f} ms, half of them at most {took[len(took) // 2] * 1000:.0f} ms")
    same("no session of a sender ended, and every message has its answer", [None, None], [one.error for one in senders])
    before, behind = settled_kept()
    same(f"of the {sum(before)} packets of their connections none was dropped", before, behind)
    ok(f"the slowest answer took {max(one.slowest for one in senders) * 1000:.0f} ms")
    for digit in (4, 6):
        passed = settled(f"in{digit}")
        probes_of = {element for element in passed if 30000 <= element[4] < 60000}
        wrong = {e for e in probes_of if not any(meant.admits(e[0], e[1], e[2], e[3], e[5]) for meant in (a, b))}
        same(f"of {probes.sent} probes none got through that neither policy allows (IPv{digit}, {len(probes_of)} got through)", set(), wrong)
        arrived = elements("arrivals", f"arrived{digit}")
        same(f"and each of the {len(arrived)} that both allow and that arrived (IPv{digit})", set(), arrived - passed)
        if not arrived:
            fail("no probe arrived that both policies allow")
    with open(f"{WORK}/acknowledged", "w") as file:
        file.writelines(f"{message}\n" for one in senders for message in one.acknowledged)
    with open(f"{WORK}/given", "w") as file:
        file.writelines(f"{message}\n" for message in device.given)
    with open(f"{WORK}/changes.json", "w") as file:
        json.dump(answers, file)
    ok(f"{sum(len(one.acknowledged) for one in senders)} messages were acknowledged to {len(senders)} senders, {len(device.given)} given to rsyslog")


def try_it(changes, random_ports, directory):
    print(f"seed {SEED}")
    random.seed(SEED)
    cables = {interface: Cable(interface) for interface in INTERFACES}
    a, b = Meant("a", LIVE_A), Meant("b", LIVE_B)
    named = {row["port"] for row in a.reach + b.reach if "port" in row}
    others = random.sample(sorted(set(range(1, 65536)) - named), random_ports)
    ports = sorted(named) + others
    try_everything(a, cables, ports, 20000, "before")
    change_under_load(a, b, cables, named, others, changes, directory)
    try_everything(b if changes % 2 else a, cables, ports, 20020, f"after {changes} changes")
    print(f"the live site: {site.checks} checks")


command = sys.argv[3]
if command == "build":
    build()
elif command == "remove":
    remove_site()
else:
    try_it(int(sys.argv[4]), int(sys.argv[5]), sys.argv[6])
