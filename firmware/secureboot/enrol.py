#!/usr/bin/env python3
"""Writes PK, KEK and db into a copy of an empty OVMF variable store, so that a virtual machine starts with Secure Boot on.

The store is that of EDK2's MdeModulePkg/Include/Guid/VariableFormat.h, the authenticated kind; all integers little-endian:

  store    := guid aaf32c78-947b-439a-a180-2e144ec37792  size:u32  format:u8=0x5a  state:u8=0xfe  reserved[6]  variable*  0xff...
  variable := 0x55aa:u16 state:u8=0x3f reserved:u8 attributes:u32 count:u64 time[16] key_index:u32 name_bytes:u32 data_bytes:u32 vendor[16]
              name data, each variable on a multiple of 4

A store that holds any variable already is refused: what is measured must come from these arguments alone.
"""
import argparse
import pathlib
import struct
import sys
import uuid

STORE = uuid.UUID("aaf32c78-947b-439a-a180-2e144ec37792")
GLOBAL = uuid.UUID("8be4df61-93ca-11d2-aa0d-00e098032b8c")
IMAGE_SECURITY = uuid.UUID("d719b2cb-3d3a-4596-a3bc-dad00e67656f")
SECURE_BOOT_ENABLE = uuid.UUID("f0a30bc7-af08-4556-99c4-001009c93a44")
CUSTOM_MODE = uuid.UUID("c076ec0c-7028-4399-a072-71ee5c448b9f")
X509 = uuid.UUID("a5c059a1-94e4-4aa7-87b5-ab155c2bf072")
STORE_HEADER_BYTES = 28
NON_VOLATILE_BOOT = 0x3
AUTHENTICATED = 0x27  # non-volatile, boot, run time, time-based authenticated write access
TIME = struct.pack("<HBBBBBBIhBB", 2024, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0)  # later updates must be newer


def signature_list(owner, certificate):
    return X509.bytes_le + struct.pack("<III", 28 + 16 + len(certificate), 0, 16 + len(certificate)) + owner.bytes_le + certificate


def variable(name, vendor, attributes, data):
    encoded = name.encode("utf-16-le") + b"\0\0"
    time = TIME if attributes & 0x20 else bytes(16)
    out = struct.pack("<HBBIQ", 0x55AA, 0x3F, 0, attributes, 0) + time
    out += struct.pack("<III", 0, len(encoded), len(data)) + vendor.bytes_le + encoded + data
    return out + b"\xff" * (-len(out) % 4)


def main():
    parser = argparse.ArgumentParser(description="Enrol Secure Boot keys in a copy of an OVMF variable store.")
    parser.add_argument("--template", default="/usr/share/OVMF/OVMF_VARS_4M.fd", type=pathlib.Path)
    parser.add_argument("--keys", required=True, type=pathlib.Path, help="folder with PK.der, KEK.der, db.der and owner.guid")
    parser.add_argument("-o", "--output", required=True, type=pathlib.Path)
    arguments = parser.parse_args()

    image = bytearray(arguments.template.read_bytes())
    start = image.find(STORE.bytes_le)
    if start < 0:
        sys.exit(f"{arguments.template}: no authenticated variable store")
    size = struct.unpack_from("<I", image, start + 16)[0]
    first, end = start + STORE_HEADER_BYTES, start + size
    if end > len(image) or any(byte != 0xFF for byte in image[first:end]):
        sys.exit(f"{arguments.template}: the variable store is not empty")

    owner = uuid.UUID((arguments.keys / "owner.guid").read_text().strip())
    certificate = {name: (arguments.keys / f"{name}.der").read_bytes() for name in ("PK", "KEK", "db")}
    variables = variable("CustomMode", CUSTOM_MODE, NON_VOLATILE_BOOT, b"\0")
    variables += variable("SecureBootEnable", SECURE_BOOT_ENABLE, NON_VOLATILE_BOOT, b"\1")
    variables += variable("db", IMAGE_SECURITY, AUTHENTICATED, signature_list(owner, certificate["db"]))
    variables += variable("KEK", GLOBAL, AUTHENTICATED, signature_list(owner, certificate["KEK"]))
    variables += variable("PK", GLOBAL, AUTHENTICATED, signature_list(owner, certificate["PK"]))
    if first + len(variables) > end:
        sys.exit("the keys do not fit into the variable store")
    image[first:first + len(variables)] = variables
    arguments.output.write_bytes(image)


main()
