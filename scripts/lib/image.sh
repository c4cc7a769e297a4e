# How the image is built, step by step; scripts/image and the image's tests source it after common.sh. Everything goes below $image_dir.

# Pinned: the guard's hooks and the stub's measurements were tried with it.
kernel_package() { case "$1" in cloud) echo linux-image-6.1.0-56-cloud-amd64 ;; generic) echo linux-image-6.1.0-56-amd64 ;; *) die "there is no kernel '$1'" ;; esac; }
export SOURCE_DATE_EPOCH=1700000000             # all times in the image
image_root_uuid=5e1e0000-0000-4000-8000-000000000001

no_packages() { warn "$*"; exit 75; }  # exit status 75: nothing is wrong here, Debian's packages could not be had

# fetch_packages CACHE KERNEL: Debian's packages, unpacked once: the kernel, and what the root file system is taken from.
fetch_packages() {
  local cache=$1 list="$root/image/root/packages.list" wanted package
  package=$(kernel_package "$2")
  mkdir -p "$cache"
  if [ ! -d "$cache/kernel-$2" ]; then
    say "fetching $package"
    rm -rf "$cache/kernel.new"
    (cd "$cache" && apt-get -qq download "$package" && dpkg -x "$package"_*.deb kernel.new) 2>/dev/null || no_packages "cannot fetch $package (apt-get update?)"
    depmod -b "$cache/kernel.new" "${package#linux-image-}"
    mv "$cache/kernel.new" "$cache/kernel-$2"
  fi
  wanted=$(grep -v '^#' "$list" | sort | paste -sd, -)
  if [ "$(cat "$cache/packages.stamp" 2>/dev/null)" != "$wanted" ] || [ ! -f "$cache/packages.tsv" ]; then
    say "fetching the packages of the root file system (log: ${cache#"$root"/}/mmdebstrap.log)"
    rm -rf "$cache/packages" "$cache/packages.stamp"
    mmdebstrap --variant=extract --format=directory --include="$wanted" --skip=cleanup/apt/cache bookworm "$cache/packages" \
      'deb http://deb.debian.org/debian bookworm main' 'deb http://deb.debian.org/debian-security bookworm-security main' \
      'deb http://deb.debian.org/debian bookworm-updates main' >"$cache/mmdebstrap.log" 2>&1 || { tail -n 5 "$cache/mmdebstrap.log" >&2; no_packages "mmdebstrap failed"; }
    list_packages "$cache/packages/var/cache/apt/archives" "$cache"
    rm -f "$cache"/packages/var/cache/apt/archives/*.deb
    echo "$wanted" >"$cache/packages.stamp"
  fi
}

# list_packages ARCHIVES OUT: what image/sbom.py reads. OUT/packages.tsv: name, version, architecture, source, SHA-256, homepage. OUT/packages.files.tsv: name, path.
list_packages() {
  local deb name
  : >"$2/packages.files.tsv"
  for deb in "$1"/*.deb; do
    name=$(dpkg-deb -f "$deb" Package)
    dpkg-deb --show --showformat '${Package}\t${Version}\t${Architecture}\t${source:Package}\t'"$(sha256sum <"$deb" | cut -d' ' -f1)"'\t${Homepage}\n' "$deb"
    dpkg-deb --fsys-tarfile "$deb" | tar -t | sed -n "s|^\./\(.*[^/]\)\$|$name\t/\1|p" >>"$2/packages.files.tsv"
  done | LC_ALL=C sort >"$2/packages.tsv.new"
  [ -s "$2/packages.tsv.new" ] || die "no Debian packages in $1"
  mv "$2/packages.tsv.new" "$2/packages.tsv"
}

# build_sbom CACHE OUT: OUT/sbom.spdx.json.
build_sbom() {
  "$root/image/sbom.py" --packages-table "$1/packages.tsv" --files-table "$1/packages.files.tsv" --kernel "$(echo "$1/$(kernel_package "$(cat "$2/kernel")")"_*.deb)" \
    --root "$2/root" --image "$2/stele.unsigned.efi" --lock "$root/web/viewer/package-lock.json" -o "$2/sbom.spdx.json"
}

# build_root CACHE PROGRAMS OUT [ASSEMBLE_ARGUMENT...]: OUT/root.erofs, OUT/root.tree, OUT/root.conf (root hash, salt, blocks). OUT/version is the
# image's version, OUT/update.pem the key that signs its updates, OUT/kernel what it is for, cloud or generic: all are in the root file system.
build_root() {
  local cache=$1 programs_dir=$2 out=$3 salt hash; shift 3
  rm -rf "$out/identity"
  mkdir -p "$out/identity/etc" "$out/identity/usr/lib/stele"
  { cat "$root/image/root/overlay/etc/os-release"; echo "IMAGE_ID=stele-$(cat "$out/kernel")-amd64"; echo "IMAGE_VERSION=$(cat "$out/version")"; } \
    >"$out/identity/etc/os-release"
  cp "$out/update.pem" "$out/identity/usr/lib/stele/update-key.pem"
  "$root/image/root/assemble.py" --packages "$cache/packages" --list "$root/image/root/files.list" --stele "$programs_dir" \
    --overlay "$root/image/root/overlay" --overlay "$out/identity" "$@" -o "$out/root"
  rm -f "$out/root.erofs" "$out/root.tree"
  mkfs.erofs --quiet -zlz4hc -T"$SOURCE_DATE_EPOCH" -U"$image_root_uuid" --all-root "$out/root.erofs" "$out/root"
  salt=$(sha256sum "$out/root.erofs" | cut -d' ' -f1)
  hash=$(veritysetup format --no-superblock --hash=sha256 --data-block-size=4096 --hash-block-size=4096 --salt="$salt" \
    "$out/root.erofs" "$out/root.tree" | awk '/^Root hash:/ { print $3 }')
  [ ${#hash} = 64 ] || die "veritysetup gave no root hash"
  printf 'root_hash=%s\nroot_salt=%s\nroot_blocks=%s\n' "$hash" "$salt" $(($(stat -c %s "$out/root.erofs") / 4096)) >"$out/root.conf"
}

# build_uki CACHE BUILD OUT [MORE_MODULES]: OUT/initrd and OUT/stele.bare.efi, from OUT/root.conf, OUT/root and OUT/pcr.pem.
build_uki() {
  local cache=$1 build=$2 out=$3 kernel modules more=(); shift 3
  kernel=$(cat "$out/kernel")
  modules=$(echo "$cache/kernel-$kernel"/lib/modules/*)
  [ $# = 0 ] || more=(--modules "$1")
  [ "$kernel" != generic ] || more+=(--drivers "$root/firmware/initrd/drivers.list")
  "$root/firmware/initrd/pack.py" --init "$build/bin/stele-init" --guard "$build/firmware/write_once.bpf.o" --root-conf "$out/root.conf" \
    --kernel-modules "$modules" --modules "$root/firmware/initrd/modules.list" "${more[@]}" --output "$out/initrd.cpio"
  zstd -q -f -19 --no-progress -T1 "$out/initrd.cpio" -o "$out/initrd"
  pack_uki "$cache" "$out" stele.bare.efi
}

# approve_uki KEYS BUILD OUT: OUT/approval.json, with which the image opens the state partition. The signature is RSA with PKCS #1 v1.5 padding: the
# same image and key give the same bytes.
approve_uki() {
  local keys=$1 build=$2 out=$3 version
  version=$(cat "$out/version")
  "$build/bin/stele-approve" --uki "$out/stele.bare.efi" --key "$keys/pcr.pem" --version "$version" >"$out/approval.policy"
  openssl dgst -sha256 -sign "$keys/pcr.key" -out "$out/approval.signature" "$out/approval.policy"
  hex() { od -An -v -tx1 "$1" | tr -d ' \n'; }
  printf '{"policy": "%s", "signature": "%s", "version": %s}\n' "$(hex "$out/approval.policy")" "$(hex "$out/approval.signature")" "$version" >"$out/approval.json"
  rm "$out/approval.policy" "$out/approval.signature"
}

# pack_uki CACHE OUT NAME [--approval FILE]: OUT/NAME, a unified kernel image that is not signed.
pack_uki() {
  local cache=$1 out=$2 name=$3; shift 3
  "$root/firmware/uki/build-uki.py" --stub /usr/lib/systemd/boot/efi/linuxx64.efi.stub --kernel "$(echo "$cache/kernel-$(cat "$out/kernel")"/boot/vmlinuz-*)" \
    --initrd "$out/initrd" --cmdline "$root/firmware/uki/cmdline" --os-release "$out/root/etc/os-release" \
    --pcr-key "$out/pcr.pem" --output "$out/$name" "$@"
}

# expect_registers KEYS BUILD OUT: OUT/expected-pcrs.json.
expect_registers() {
  "$2/bin/stele-measure" predict --uki "$3/stele.efi" --pk "$1/PK.esl" --kek "$1/KEK.esl" --db "$1/db.esl" --phases leave-initrd -o "$3/expected-pcrs.json"
}

# make_update KEYS OUT: OUT/stele-VERSION.update, from the root file system, its hash tree and the signed image.
make_update() {
  local version; version=$(cat "$2/version")
  rm -f "$2"/stele-*.update
  "$root/firmware/update/make-update" --model "$(sed -n 's/^IMAGE_ID=//p' "$2/root/etc/os-release")" --version "$version" --root "$2/root.erofs" --tree "$2/root.tree" \
    --uki "$2/stele.efi" --key "$1/update.key" -o "$2/stele-$version.update"
}

sign_uki() {  # sign_uki KEYS UNSIGNED SIGNED
  sbsign --key "$1/db.key" --cert "$1/db.pem" --output "$3" "$2" 2>/dev/null || die "sbsign failed"
}

# next_version IMAGE OUT [ASSEMBLE_ARGUMENT...]: OUT, the image of the version that OUT's name is, with its update, for appliances of IMAGE.
next_version() {
  local image=$1 out=$2 keys programs; shift 2
  keys=$(cat "$image/keys") programs="$root/$(cat "$image/programs")"
  rm -rf "$out"
  mkdir -p "$out"
  cp "$image"/{kernel,pcr.pem,update.pem} "$out/"
  basename "$out" >"$out/version"
  build_root "$image/../cache" "$programs" "$out" "$@"
  build_uki "$image/../cache" "$programs/.." "$out"
  approve_uki "$keys" "$programs/.." "$out"
  pack_uki "$image/../cache" "$out" stele.unsigned.efi --approval "$out/approval.json"
  sign_uki "$keys" "$out/stele.unsigned.efi" "$out/stele.efi"
  expect_registers "$keys" "$programs/.." "$out"
  make_update "$keys" "$out"
}
