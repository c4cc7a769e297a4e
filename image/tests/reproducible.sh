# Goal: the same programs and packages give the same root file system, initial RAM disk and unsigned image, wherever they are built. Method: everything
# from the root file system on is built a second time from a copy of the sources in another folder, with another time of day and umask, and compared.
other=$(mktemp -d "${TMPDIR:-/tmp}/another-folder.XXXXXX")
trap 'rm -rf "$other"' EXIT
cp -r "$root"/{firmware,image,scripts} "$other/"
mkdir -p "$other/web/viewer"
cp "$root/web/viewer/package-lock.json" "$other/web/viewer/"
(
  umask 0077
  root=$other
  . "$other/scripts/lib/image.sh"
  mkdir "$other/out"
  cp "$image"/{version,kernel,pcr.pem,update.pem} "$other/out/"
  build_root "$image/../cache" "$stele_bin" "$other/out"
  build_uki "$image/../cache" "$stele_bin/.." "$other/out"
  pack_uki "$image/../cache" "$other/out" stele.unsigned.efi --approval "$image/approval.json"
  build_sbom "$image/../cache" "$other/out" >/dev/null
)
bad=0
for file in root.conf root.erofs root.tree initrd stele.bare.efi stele.unsigned.efi sbom.spdx.json; do
  if cmp "$image/$file" "$other/out/$file"; then say "  $file: the same, $(sha256sum <"$image/$file" | cut -c1-16)..."; else bad=1; fi
done
exit "$bad"
