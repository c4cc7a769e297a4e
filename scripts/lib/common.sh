# Shared by the scripts of this folder: source it, do not run it.
# Gives: $root (the source tree), say, warn, die, need, with_help, as_root.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
started_at=$SECONDS

say() { printf '[%3d s] %s\n' "$((SECONDS - started_at))" "$*"; }
warn() { printf '[%3d s] warning: %s\n' "$((SECONDS - started_at))" "$*" >&2; }
die() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; exit 1; }
usage_error() { printf '%s: %s (try --help)\n' "$(basename "$0")" "$*" >&2; exit 2; }

# The comment block at the top of a script is its help text.
print_help() { sed -n '2,/^[^#]/{/^#/!d;s/^# \{0,1\}//;p}' "$1"; }

need() {  # need COMMAND...: stop with a clear word when one is missing
  local command
  for command in "$@"; do
    command -v "$command" >/dev/null || die "'$command' is missing; run scripts/packages first"
  done
}

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; elif command -v sudo >/dev/null; then sudo "$@"; else
    die "this step needs root: $*"; fi
}

# The programs alone: what running and measuring need; tests stay unbuilt.
programs=(stele stele-receive stele-ledger stele-anchor stele-query stele-web stele-courier stele-guard stele-guard-watch stele-bench-send stele-store-payloads stele-audit)

# Of the bootable image; configured with -DSTELE_IMAGE=ON.
image_programs=(stele stele-receive stele-ledger stele-anchor stele-query stele-web stele-courier stele-guard stele-guard-watch stele-audit stele-bench-send stele-console stele-init
                stele-state stele-update stele-confirm stele-reclaim stele-guard-object)
more_cmake=()  # further arguments of cmake

# configure_and_build PRESET [TARGET...]: quiet unless it fails; the log stays in build/PRESET/build.log.
configure_and_build() {
  local preset=$1 log; shift
  mkdir -p "$root/build/$preset"
  log="$root/build/$preset/build.log"
  local launcher=()
  command -v ccache >/dev/null && launcher=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
  say "configuring $preset"
  (cd "$root" && cmake -U STELE_ROOMS --preset "$preset" "${launcher[@]}" ${more_cmake[@]+"${more_cmake[@]}"}) >"$log" 2>&1 || { tail -n 40 "$log" >&2; die "cmake failed, see $log"; }
  say "building $preset (log: ${log#"$root"/})"
  (cd "$root" && cmake --build "build/$preset" ${1:+--target "$@"}) >>"$log" 2>&1 ||
    { grep -E 'error|FAILED|warning:' "$log" | head -n 40 >&2; die "the build failed, see $log"; }
  say "built $preset"
}

# build_viewer: `npm ci` and the build in web/viewer, only when its inputs changed since the last time.
build_viewer() {
  local viewer="$root/web/viewer" stamp log
  need npm node
  mkdir -p "$root/build"
  log="$root/build/viewer.log"
  stamp=$(cd "$viewer" && find . -path ./node_modules -prune -o -path ./dist -prune -o -path ./build -prune -o -type f -print |
    LC_ALL=C sort | xargs sha256sum | sha256sum)
  if [ -f "$viewer/dist/verify.html" ] && [ "$(cat "$root/build/viewer.stamp" 2>/dev/null)" = "$stamp" ]; then
    say "viewer: built already"
    return
  fi
  say "viewer: npm ci and build (log: build/viewer.log)"
  (cd "$viewer" && npm ci --ignore-scripts --no-audit --no-fund && npm run build) >"$log" 2>&1 ||
    { tail -n 30 "$log" >&2; die "the viewer could not be built, see $log"; }
  printf '%s\n' "$stamp" >"$root/build/viewer.stamp"
}
