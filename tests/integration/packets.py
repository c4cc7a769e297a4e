"""Ethernet frames with IP packets in anybody's name, for tests with real packets."""
import ipaddress
import struct

SYN, ACK = 2, 16


def folded(total):
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def words_sum(data):
    return sum(struct.unpack(f"!{len(data) // 2}H", data))


class Packets:
    """Frames from one address to another; what is the same for all of them is computed once."""

    def __init__(self, macs, source, destination):
        self.source, self.destination = ipaddress.ip_address(source).packed, ipaddress.ip_address(destination).packed
        self.v4 = len(self.source) == 4
        self.ethernet = macs + (b"\x08\x00" if self.v4 else b"\x86\xdd")
        self.pseudo = words_sum(self.source + self.destination)

    def ip(self, protocol, size, fragment=0):
        if not self.v4:
            return struct.pack("!IHBB", 6 << 28, size, protocol, 64) + self.source + self.destination
        header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + size, fragment and 7, fragment, 64, protocol, 0) + self.source + self.destination
        return header[:10] + struct.pack("!H", folded(words_sum(header))) + header[12:]

    def checked(self, protocol, data, at):
        return data[:at] + struct.pack("!H", folded(self.pseudo + protocol + len(data) + words_sum(data))) + data[at + 2:]

    def tcp(self, source_port, port, flags=SYN):
        data = self.checked(6, struct.pack("!HHIIBBHHH", source_port, port, 1, 0, 0x50, flags, 1024, 0, 0), 16)
        return self.ethernet + self.ip(6, len(data)) + data

    def udp_datagram(self, source_port, port, payload=b"probe-"):
        return self.checked(17, struct.pack("!HHHH", source_port, port, 8 + len(payload), 0) + payload, 6)

    def udp(self, source_port, port):
        data = self.udp_datagram(source_port, port)
        return self.ethernet + self.ip(17, len(data)) + data

    def fragments(self, source_port, port):
        data = self.udp_datagram(source_port, port, b"x" * 32)
        if self.v4:
            return [self.ethernet + self.ip(17, 24, 0x2000) + data[:24], self.ethernet + self.ip(17, len(data) - 24, 3) + data[24:]]
        parts = ((data[:24], 1), (data[24:], 24))
        return [self.ethernet + self.ip(44, 8 + len(part)) + struct.pack("!BBHI", 17, 0, offset, 7) + part for part, offset in parts]

    def echo(self, kind=8):
        if self.v4:
            data = struct.pack("!BBHHH", kind, 0, 0, 7, 7)
            return self.ethernet + self.ip(1, 8) + data[:2] + struct.pack("!H", folded(words_sum(data))) + data[4:]
        return self.ethernet + self.ip(58, 8) + self.checked(58, struct.pack("!BBHHH", 128, 0, 0, 7, 7), 2)
