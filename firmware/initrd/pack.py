#!/usr/bin/env python3
"""Packs the initial RAM disk: a newc archive of the init, the guard, the description of the root file system, the kernel modules, in the order in
which they must be loaded, and drivers. The same inputs give the same bytes: owners are 0, times are 0, inode numbers count from 1."""
import argparse
import pathlib

FOLDERS = ("dev", "drivers", "guard", "modules", "proc", "run", "sys", "sysroot")


def entry(number, name, mode, data=b"", device=(0, 0)):
    fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(name) + 1, 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
    return head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4)


class Kernel:
    """What depmod says of the kernel's modules. Names as the kernel has them, with underscores."""

    def __init__(self, root):
        name = lambda path: pathlib.Path(path).stem.replace("-", "_")
        words = lambda file: [line.split() for line in (root / file).read_text().splitlines() if line and line[0] != "#"]
        self.built_in = {name(path) for (path,) in words("modules.builtin")}
        self.files, self.needs, self.wishes, self.aliases = {}, {}, {}, {}
        for path, *needs in words("modules.dep"):
            path = path.rstrip(":")
            self.files[name(path)] = root / path
            self.needs[name(path)] = [name(need) for need in reversed(needs)]
        for _, module, *wishes in words("modules.softdep"):
            before = " ".join(wishes).partition("post:")[0].partition("pre:")[2].split()
            self.wishes.setdefault(module, []).extend(before)
        for _, alias, module in words("modules.alias"):
            self.aliases.setdefault(module, []).append(alias)

    def add(self, name, order, begun=()):
        """Appends the module and all it needs, needs first, if they are not built in and not there yet."""
        name = name.replace("-", "_")
        if name in self.built_in or name in order or name in begun:
            return
        if name not in self.files:
            raise SystemExit(f"the kernel has no module {name}")
        for each in [*self.needs[name], name]:
            for wish in self.wishes.get(each, []):
                for module in sorted(m for m in self.files if m == wish.replace("-", "_") or wish in self.aliases.get(m, [])):
                    self.add(module, order, (*begun, name))
            if each not in order and each not in self.built_in:
                order.append(each)


def names_in(lists):
    return [line.split()[0] for each in lists for line in each.read_text().splitlines() if line and line[0] != "#"]


def add_drivers(kernel, loaded, names, files):
    """The drivers, and the table of who wants which (driver_table.h)."""
    table, packed = [], []
    for name in names:
        order = []
        kernel.add(name, order)
        order = [module for module in order if module not in loaded]
        packed += [module for module in order if module not in packed]
        name = name.replace("-", "_")
        if name not in loaded and not kernel.aliases.get(name):
            raise SystemExit(f"no device asks for {name}")
        needs = " ".join(kernel.files[module].name for module in order)
        table += [f"{alias} {needs}\n" for alias in kernel.aliases.get(name, []) if order and ":" in alias]
    files += [(f"drivers/{kernel.files[module].name}", 0o100644, kernel.files[module]) for module in packed]
    files.append(("drivers.table", 0o100644, "".join(table).encode()))


def main():
    parser = argparse.ArgumentParser(description="Pack the initial RAM disk.")
    for name in ("init", "guard", "root-conf", "kernel-modules", "output"):
        parser.add_argument("--" + name, required=True, type=pathlib.Path)
    parser.add_argument("--modules", required=True, type=pathlib.Path, action="append", help="list of modules; may be given more than once")
    parser.add_argument("--drivers", type=pathlib.Path, help="list of modules that are loaded only where their device is there")
    arguments = parser.parse_args()

    files = [("init", 0o100755, arguments.init), ("write_once.bpf.o", 0o100644, arguments.guard), ("root.conf", 0o100644, arguments.root_conf)]
    kernel, order = Kernel(arguments.kernel_modules), []
    for name in names_in(arguments.modules):
        kernel.add(name, order)
    for i, name in enumerate(order):
        files.append((f"modules/{i:03}-{kernel.files[name].name}", 0o100644, kernel.files[name]))
    if arguments.drivers:
        add_drivers(kernel, set(order), names_in([arguments.drivers]), files)
    archive = b"".join(entry(i + 1, name, 0o040755) for i, name in enumerate(FOLDERS))
    archive += entry(len(FOLDERS) + 1, "dev/console", 0o020600, device=(5, 1))
    for i, (name, mode, path) in enumerate(files):
        archive += entry(len(FOLDERS) + 2 + i, name, mode, path if isinstance(path, bytes) else path.read_bytes())
    archive += entry(0, "TRAILER!!!", 0)
    arguments.output.write_bytes(archive + bytes(-len(archive) % 512))


main()
