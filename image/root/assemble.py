#!/usr/bin/env python3
"""Makes the root file system of the appliance from unpacked Debian packages: copies what files.list names, the shared libraries these need, the
programs of Stele and the overlay, and nothing else. Then it looks at the result and refuses it if there is a script, an interpreter, a file with
set-user-ID, or a program that nobody named.

    assemble.py --packages DIR --list FILE --stele DIR --overlay DIR [--overlay DIR] -o ROOT
"""
import argparse
import os
import pathlib
import re
import shutil
import stat
import subprocess
import sys

LIBRARY_FOLDERS = ("usr/lib/x86_64-linux-gnu", "usr/lib/systemd", "usr/lib/x86_64-linux-gnu/systemd")
FOLDERS = ("dev", "etc", "proc", "run", "sys", "tmp", "usr/bin", "usr/lib", "usr/sbin", "usr/lib/x86_64-linux-gnu", "usr/lib64", "var/lib/stele", "var/log",
           "var/tmp", "root")
MERGED = ("bin", "lib", "lib64", "sbin")
SHELLS = re.compile(r"^(ba|da|z|k|c|tc|fi|a)?sh$|^busybox$|^(python|perl|ruby|lua|node|awk|mawk|gawk|sed|tclsh|gdb|strace|login|getty|agetty|su|sudo)[0-9.]*$")
PROGRAMS = ("stele", "stele-receive", "stele-ledger", "stele-anchor", "stele-query", "stele-web", "stele-courier", "stele-guard", "stele-guard-watch", "stele-console",
            "stele-state", "stele-update", "stele-confirm", "stele-reclaim")


class Packages:
    """Unpacked packages, seen as if /bin, /lib, /lib64 and /sbin were links to the folders of that name below /usr."""

    def __init__(self, root):
        self.root = root

    def find(self, path):
        path = path.lstrip("/")
        choices = [self.root / path]
        if path.startswith("usr/") and path.split("/")[1] in MERGED:
            choices.append(self.root / path[4:])
        for choice in choices:
            if choice.is_symlink() or choice.exists():
                return choice
        return None

    def resolve(self, path):
        """The path below /usr of the regular file that `path` leads to, and the links on the way."""
        links = []
        for _ in range(8):
            found = self.find(path)
            if found is None:
                sys.exit(f"no package has {path}")
            if not found.is_symlink():
                return path, links
            links.append(path)
            target = os.readlink(found)
            path = "/" + os.path.normpath(target if target.startswith("/") else os.path.join(os.path.dirname(path), target)).lstrip("/")
            if path.split("/")[1] in MERGED:
                path = "/usr" + path
        sys.exit(f"{path} is a circle of links")


def needed_libraries(path):
    out = subprocess.run(["objdump", "-p", path], capture_output=True, text=True, check=True).stdout
    return [line.split()[1] for line in out.splitlines() if line.strip().startswith("NEEDED")]


def is_elf(path):
    with open(path, "rb") as file:
        return file.read(4) == b"\x7fELF"


class Root:
    def __init__(self, root, packages):
        self.root, self.packages, self.libraries = root, packages, set()
        for folder in FOLDERS:
            (root / folder).mkdir(parents=True)
        for name in MERGED:
            (root / name).symlink_to("usr/" + name)

    def copy(self, source, path, mode):
        target = self.root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        target.chmod(mode)
        if is_elf(target):
            for name in needed_libraries(target):
                self.add_library(name)

    def add(self, path):
        real, links = self.packages.resolve(path)
        source = self.packages.find(real)
        target = self.root / real.lstrip("/")
        if not target.exists():
            self.copy(source, real, 0o755 if os.access(source, os.X_OK) else 0o644)
        for link in links:  # a link keeps its name and leads to the file itself
            place = self.root / link.lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            if not place.is_symlink():
                place.symlink_to(os.path.relpath(target, place.parent))

    def add_library(self, name):
        if name in self.libraries:
            return
        self.libraries.add(name)
        if name.startswith("ld-linux"):
            self.add("/usr/lib64/" + name)
            return
        for folder in LIBRARY_FOLDERS:
            if self.packages.find(f"{folder}/{name}"):
                self.add(f"/{folder}/{name}")
                return
        sys.exit(f"no package has the library {name}")

    def overlay(self, folder):
        for path in sorted(folder.rglob("*")):
            inside = "/" + str(path.relative_to(folder))
            if path.is_symlink():
                place = self.root / inside.lstrip("/")
                place.parent.mkdir(parents=True, exist_ok=True)
                place.symlink_to(os.readlink(path))
            elif path.is_file():
                self.copy(path, inside, 0o755 if os.access(path, os.X_OK) else 0o644)


def faults(root, programs):
    for path in sorted(root.rglob("*")):
        inside = "/" + str(path.relative_to(root))
        if SHELLS.match(path.name) and not path.is_dir():
            yield f"{inside} is a shell, an interpreter or a login"
        if path.is_symlink() or not path.is_file():
            continue
        mode = path.stat().st_mode
        if mode & (stat.S_ISUID | stat.S_ISGID):
            yield f"{inside} has set-user-ID"
        with open(path, "rb") as file:
            if file.read(2) == b"#!":
                yield f"{inside} is a script"
        if mode & stat.S_IXUSR and ".so" not in path.name and inside not in programs:
            yield f"{inside} is a program that nobody named"


def main():
    parser = argparse.ArgumentParser(description="Assemble the root file system of the appliance.")
    for name in ("packages", "list", "stele"):
        parser.add_argument("--" + name, required=True, type=pathlib.Path)
    parser.add_argument("--overlay", required=True, type=pathlib.Path, action="append")
    parser.add_argument("--program", default=[], action="append", help="a further program of an overlay")
    parser.add_argument("-o", "--output", required=True, type=pathlib.Path)
    arguments = parser.parse_args()

    os.umask(0o022)
    if arguments.output.exists():
        shutil.rmtree(arguments.output)
    root = Root(arguments.output, Packages(arguments.packages))
    named = [line.split()[0] for line in arguments.list.read_text().splitlines() if line.strip() and line[0] != "#"]
    for path in named:
        root.add(path)
    for name in PROGRAMS:
        root.copy(arguments.stele / name, f"/usr/lib/stele/{name}", 0o755)
        subprocess.run(["strip", root.root / f"usr/lib/stele/{name}"], check=True)
    for folder in arguments.overlay:
        root.overlay(folder)
    subprocess.run(["ldconfig", "-X", "-r", arguments.output], check=True)
    cache = arguments.output / "var/cache/ldconfig"
    if cache.exists():
        shutil.rmtree(cache)

    programs = set(named) | {f"/usr/lib/stele/{name}" for name in PROGRAMS} | set(arguments.program)
    found = list(faults(arguments.output, programs))
    if found:
        sys.exit("the root file system is refused:\n  " + "\n  ".join(found))


main()
