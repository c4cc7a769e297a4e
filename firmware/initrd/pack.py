#!/usr/bin/env python3
"""Packs the initial RAM disk: a newc archive of the init, the guard, the description of the root file system and the kernel modules, in the order
in which they must be loaded. The same inputs give the same bytes: owners are 0, times are 0, inode numbers count from 1."""
import argparse
import pathlib
import subprocess

FOLDERS = ("dev", "guard", "modules", "proc", "run", "sys", "sysroot")


def entry(number, name, mode, data=b"", device=(0, 0)):
    fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(name) + 1, 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
    return head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4)


def modules_in_order(root, lists):
    """Paths of the modules named in the lists and of all they need, needs first."""
    built_in = {pathlib.Path(line).stem.replace("-", "_") for line in (root / "modules.builtin").read_text().split()}
    files = {path.stem.replace("-", "_"): path for path in sorted((root / "kernel").rglob("*.ko"))}
    wanted = [line.split()[0] for each in lists for line in each.read_text().splitlines() if line and line[0] != "#"]
    order = []

    def add(name):
        name = name.replace("-", "_")
        if name in built_in or files.get(name) in order:
            return
        if name not in files:
            raise SystemExit(f"the kernel has no module {name}")
        needs = subprocess.run(["modinfo", "-F", "depends", files[name]], capture_output=True, text=True, check=True).stdout
        for need in needs.strip().split(","):
            if need:
                add(need)
        order.append(files[name])

    for name in wanted:
        add(name)
    return order


def main():
    parser = argparse.ArgumentParser(description="Pack the initial RAM disk.")
    for name in ("init", "guard", "root-conf", "kernel-modules", "output"):
        parser.add_argument("--" + name, required=True, type=pathlib.Path)
    parser.add_argument("--modules", required=True, type=pathlib.Path, action="append", help="list of modules; may be given more than once")
    arguments = parser.parse_args()

    files = [("init", 0o100755, arguments.init), ("write_once.bpf.o", 0o100644, arguments.guard), ("root.conf", 0o100644, arguments.root_conf)]
    for i, path in enumerate(modules_in_order(arguments.kernel_modules, arguments.modules)):
        files.append((f"modules/{i:02}-{path.name}", 0o100644, path))
    archive = b"".join(entry(i + 1, name, 0o040755) for i, name in enumerate(FOLDERS))
    archive += entry(len(FOLDERS) + 1, "dev/console", 0o020600, device=(5, 1))
    for i, (name, mode, path) in enumerate(files):
        archive += entry(len(FOLDERS) + 2 + i, name, mode, path.read_bytes())
    archive += entry(0, "TRAILER!!!", 0)
    arguments.output.write_bytes(archive + bytes(-len(archive) % 512))


main()
