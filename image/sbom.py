#!/usr/bin/env python3
"""Writes the software bill of materials of an image as SPDX 2.3 JSON: every file of the root file system with its digests and the Debian package
it was copied from, the kernel, and what is compiled or linked into Stele's own programs and the viewer. The same inputs give the same bytes.

    sbom.py --packages-table FILE --files-table FILE --kernel NAME_VERSION.deb --root DIR --image UNSIGNED.efi --lock package-lock.json -o FILE

The packages' table has a line for each Debian package: name, version, architecture, source, SHA-256 of its file, homepage. The files' table: name,
path. Both with tabs. Licences are not guessed: Debian's packages say theirs in /usr/share/doc/PACKAGE/copyright.
"""
import argparse
import base64
import datetime
import hashlib
import json
import os
import pathlib
import re
import subprocess

# Debian packages of the machine that builds which end up inside Stele's programs: headers without a library, and libraries linked statically.
HEADERS = ("libboost1.81-dev", "nlohmann-json3-dev", "libexpected-dev", "libtomlplusplus-dev", "libcli11-dev", "libxxhash-dev")
STATIC = ("libc6-dev", "libbpf-dev", "libelf-dev", "zlib1g-dev", "libzstd-dev", "systemd-boot-efi")


def digest(path, name):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, name).hexdigest() if hasattr(hashlib, "file_digest") else hashlib.new(name, file.read()).hexdigest()


def identifier(*parts):
    return "SPDXRef-" + re.sub(r"[^A-Za-z0-9.-]", "-", "-".join(parts))


def table(path):
    return [line.rstrip("\n").split("\t") for line in open(path, encoding="utf-8")]


def package(spdx_id, name, version, purl=None, sha256=None, sha512=None, **more):
    out = {"SPDXID": spdx_id, "name": name, "versionInfo": version, "downloadLocation": "NOASSERTION", "filesAnalyzed": False,
           "licenseConcluded": "NOASSERTION", "licenseDeclared": "NOASSERTION", "copyrightText": "NOASSERTION"}
    if purl:
        out["externalRefs"] = [{"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": purl}]
    sums = [("SHA256", sha256), ("SHA512", sha512)]
    if any(value for _, value in sums):
        out["checksums"] = [{"algorithm": algorithm, "checksumValue": value} for algorithm, value in sums if value]
    return out | more


def debian(row):
    name, version, architecture, source, sha256, homepage = row
    more = {"homepage": homepage} if re.match(r"https?://\S+$", homepage) else {}
    if source:
        more["sourceInfo"] = f"built by Debian from the source package {source}"
    return package(identifier("deb", name), name, version, f"pkg:deb/debian/{name}@{version}?arch={architecture}", sha256,
                   supplier="Organization: Debian", **more)


def installed(name):
    out = subprocess.run(["dpkg-query", "-W", "-f", "${Package}\t${Version}\t${Architecture}\t${source:Package}\t\t${Homepage}\n", name],
                         capture_output=True, text=True, check=False).stdout
    return out.split("\n")[0].split("\t") if out else None


def main():
    parser = argparse.ArgumentParser(description="Write the software bill of materials of an image.")
    for name in ("packages-table", "files-table", "kernel", "root", "image", "lock"):
        parser.add_argument("--" + name, required=True, type=pathlib.Path)
    parser.add_argument("-o", "--output", required=True, type=pathlib.Path)
    arguments = parser.parse_args()

    debs = {row[0]: row for row in table(arguments.packages_table)}
    owner = {}
    for name, path in table(arguments.files_table):
        path = re.sub(r"^/(bin|lib|lib64|sbin)/", r"/usr/\1/", path)
        owner.setdefault(path, name)

    lock = json.loads(arguments.lock.read_text())
    version = lock["packages"][""]["version"]
    image_sha256 = digest(arguments.image, "sha256")
    stele = package("SPDXRef-stele", "stele", version, licenseDeclared="Apache-2.0")
    root = package("SPDXRef-root", "stele-root", version, primaryPackagePurpose="OPERATING-SYSTEM")
    image = package("SPDXRef-image", "stele-image", version, sha256=image_sha256, packageFileName=arguments.image.name, primaryPackagePurpose="FIRMWARE")
    packages, relationships, files, used = [image, root, stele], [], [], set()

    def relate(one, kind, other):
        relationships.append({"spdxElementId": one, "relationshipType": kind, "relatedSpdxElement": other})

    relate("SPDXRef-DOCUMENT", "DESCRIBES", "SPDXRef-image")
    relate("SPDXRef-image", "CONTAINS", "SPDXRef-root")
    relate("SPDXRef-root", "CONTAINS", "SPDXRef-stele")
    for path in sorted(arguments.root.rglob("*")):
        if path.is_symlink() or not path.is_file():
            continue
        inside = "/" + str(path.relative_to(arguments.root))
        spdx_id = "SPDXRef-file-" + hashlib.sha256(inside.encode()).hexdigest()[:24]
        files.append({"SPDXID": spdx_id, "fileName": "." + inside, "licenseConcluded": "NOASSERTION", "copyrightText": "NOASSERTION",
                      "checksums": [{"algorithm": name.upper(), "checksumValue": digest(path, name)} for name in ("sha1", "sha256")]})
        relate("SPDXRef-root", "CONTAINS", spdx_id)
        if inside in owner:
            used.add(owner[inside])
            relate(spdx_id, "GENERATED_FROM", identifier("deb", owner[inside]))
        else:  # Stele's programs, its settings, and the loader's cache that the build makes
            relate(spdx_id, "GENERATED_FROM", "SPDXRef-stele")
    sums = sorted(entry["checksums"][0]["checksumValue"] for entry in files)
    root |= {"filesAnalyzed": True, "packageVerificationCode": {"packageVerificationCodeValue": hashlib.sha1("".join(sums).encode()).hexdigest()}}
    root["licenseInfoFromFiles"] = ["NOASSERTION"]
    packages[1] = root
    packages += [debian(debs[name]) for name in sorted(used)]

    name, kernel_version = arguments.kernel.name.removesuffix(".deb").split("_")[:2]
    kernel = debian([name, kernel_version.replace("%3a", ":"), "amd64", "linux-signed-amd64", digest(arguments.kernel, "sha256"), "https://www.kernel.org/"])
    packages.append(kernel)
    relate("SPDXRef-image", "CONTAINS", kernel["SPDXID"])
    for names, kind in ((HEADERS, "CONTAINS"), (STATIC, "STATIC_LINK")):
        for row in filter(None, map(installed, names)):
            row[0] += "" if row[0] not in used else "-of-the-build"
            entry = debian(row)
            packages.append(entry)
            relate("SPDXRef-stele", kind, entry["SPDXID"])
    for place, entry in sorted(lock["packages"].items()):
        if not place or entry.get("dev"):
            continue
        name = place.split("node_modules/")[-1]
        algorithm, _, value = entry.get("integrity", "").partition("-")
        sha512 = base64.b64decode(value).hex() if algorithm == "sha512" else None
        npm = package(identifier("npm", name), name, entry["version"], f"pkg:npm/{name.replace('@', '%40')}@{entry['version']}", sha512=sha512,
                      licenseDeclared=entry.get("license", "NOASSERTION"))
        packages.append(npm)
        relate("SPDXRef-stele", "CONTAINS", npm["SPDXID"])

    created = datetime.datetime.fromtimestamp(int(os.environ["SOURCE_DATE_EPOCH"]), datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    document = {"spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT", "name": f"stele-image-{version}",
                "documentNamespace": f"https://stele.invalid/spdx/{image_sha256}",
                "creationInfo": {"created": created, "creators": [f"Tool: stele-sbom-{version}"]},
                "packages": packages, "files": files, "relationships": relationships}
    arguments.output.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    print(f"{len(packages)} packages, {len(files)} files")


main()
