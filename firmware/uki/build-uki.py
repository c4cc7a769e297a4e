#!/usr/bin/env python3
"""Writes a unified kernel image: systemd's stub and, as sections behind it, what it starts. The same inputs give the same bytes.

Sections in the order in which the stub measures them (systemd 252): .osrel .cmdline .initrd .linux, then .pcrpkey (measured as well) and .pcrsig
(not measured: it says what PCR 11 must be). Addresses follow the stub's last section, each on a page of its own. The image is not signed here
(sbsign).
"""
import argparse
import pathlib
import struct
import subprocess
import tempfile

PAGE = 4096


def command_line(path):
    words = [line.split()[0] for line in path.read_text().splitlines() if line.strip() and not line.startswith("#")]
    return " ".join(words).encode()


def sections_of(image):
    """(virtual address, virtual size) of each section, and the image base."""
    pe = struct.unpack_from("<I", image, 0x3C)[0]
    count, optional_size = struct.unpack_from("<H", image, pe + 6)[0], struct.unpack_from("<H", image, pe + 20)[0]
    base = struct.unpack_from("<Q", image, pe + 24 + 24)[0]
    table = pe + 24 + optional_size
    return [struct.unpack_from("<II", image, table + 40 * i + 8)[::-1] for i in range(count)], base


def main():
    parser = argparse.ArgumentParser(description="Build an unsigned unified kernel image.")
    for name in ("stub", "kernel", "initrd", "cmdline", "os-release", "output"):
        parser.add_argument("--" + name, required=True, type=pathlib.Path)
    parser.add_argument("--pcr-key", required=True, type=pathlib.Path, help="public half of the key that approves images for the state partition")
    parser.add_argument("--approval", type=pathlib.Path, help="its approval of this image; without it the image opens no state partition")
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory() as work:
        cmdline = pathlib.Path(work) / "cmdline"
        cmdline.write_bytes(command_line(arguments.cmdline))
        sections, base = sections_of(arguments.stub.read_bytes())
        at = max(address + size for address, size in sections)
        command = ["objcopy", "--enable-deterministic-archives"]
        added = [(".osrel", arguments.os_release), (".cmdline", cmdline), (".initrd", arguments.initrd), (".linux", arguments.kernel),
                 (".pcrpkey", arguments.pcr_key)]
        if arguments.approval:
            added.append((".pcrsig", arguments.approval))
        for name, path in added:
            at = -(-at // PAGE) * PAGE
            command += ["--add-section", f"{name}={path}", "--change-section-vma", f"{name}={base + at:#x}"]
            at += path.stat().st_size
        subprocess.run(command + [str(arguments.stub), str(arguments.output)], check=True)

    image = bytearray(arguments.output.read_bytes())
    pe = struct.unpack_from("<I", image, 0x3C)[0]
    struct.pack_into("<I", image, pe + 8, 0)        # time stamp: objcopy writes the present
    struct.pack_into("<I", image, pe + 24 + 64, 0)  # checksum over it; firmware does not look
    arguments.output.write_bytes(image)


main()
