"""For violations.sh: real packets from the hosts at the end of a cable, and what the rules and the log say of them.

violations_site.py send MAC SOURCE DESTINATION syn|ack|udp|icmp PORT COUNT      so many frames to that port, or to each of A-B; of ICMP: the
                                                                                type. Run at the far end of the cable
violations_site.py sums ALARMS_JSON      what the counters of the rules say and what the entries say, as JSON; run where the table is"""
import base64
import collections
import json
import socket
import subprocess
import sys
import time

from packets import ACK, SYN, Packets


def send(destination_mac, source, destination, kind, ports, count):
    cable = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    cable.bind(("wire", 0))
    packets = Packets(bytes.fromhex(destination_mac.replace(":", "")) + cable.getsockname()[4], source, destination)
    first, last = (int(text) for text in (ports if "-" in ports else f"{ports}-{ports}").split("-"))
    for i, port in enumerate(port for port in range(first, last + 1) for _ in range(int(count))):
        source_port = 40000 + i % 20000
        frame = {"syn": lambda: packets.tcp(source_port, port, SYN), "ack": lambda: packets.tcp(source_port, port, ACK),
                 "udp": lambda: packets.udp(source_port, port), "icmp": lambda: packets.echo(port)}[kind]()
        while True:
            try:
                cable.send(frame)
                break
            except OSError:  # no room in the queue for a moment
                time.sleep(0.001)


def counters():
    """By "zone:reason", as the prefixes of the rules have them."""
    listing = json.loads(subprocess.run(("nft", "-j", "list", "table", "inet", "stele"), check=True, capture_output=True).stdout)["nftables"]
    out = collections.Counter()
    for part in listing:
        terms = part.get("rule", {}).get("expr", [])
        prefix = next((term["log"].get("prefix", "") for term in terms if term.get("log")), "")
        count = next((term["counter"]["packets"] for term in terms if isinstance(term.get("counter"), dict)), 0)
        if prefix.startswith("stele:") and count:
            out[prefix.removeprefix("stele:")] += count
    return out


def entries(rows):
    out, perhaps = collections.Counter(), 0
    for row in rows:
        alarm = json.loads(base64.b64decode(row["payload_b64"]))
        if alarm["alarm"].startswith("policy_"):
            out[f"{alarm['zone'] or '-'}:{alarm.get('reason') or alarm['alarm']}"] += alarm["packets"]
            perhaps += alarm.get("perhaps_before", 0)
    return out, perhaps


def sums(file):
    with open(file) as found:
        said, perhaps = entries(json.load(found)["rows"])
    counted = counters()
    print(json.dumps({"counted": counted, "said": said, "counted_sum": sum(counted.values()), "said_sum": sum(said.values()), "perhaps": perhaps}))


if sys.argv[1] == "send":
    send(*sys.argv[2:])
else:
    sums(sys.argv[2])
