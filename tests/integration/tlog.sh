#!/usr/bin/env bash
# Goal: the log as a static tree (C2SP tlog-tiles) is accepted by somebody else's verifier, altered or rolled back it is not; the
# viewer's server serves the same bytes, to whom it may, with caching as the specification asks.
# Method: `stele export --tlog`, twice, checked by a small Go program on golang.org/x/mod/sumdb (tlog_check); each kind of file
# altered once; curl against /log/ under three configurations; the access entries that come of it.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
[ -d /usr/share/gocode/src/golang.org/x/mod/sumdb/tlog ] || skip 'golang-golang-x-mod-dev is not installed'
command -v go >/dev/null || skip 'golang-go is not installed'
begin_test
(cd "$here/tlog_check" && GO111MODULE=off GOPATH=/usr/share/gocode GOCACHE="$work/gocache" GOFLAGS= go build -o "$work/check" .) ||
  fail 'tlog_check does not build'
check() { "$work/check" "$@"; }
load() { "$send" --tcp "127.0.0.1:$(port_of syslog-tcp)" --count "$1" --tag tree --seed "$1" >/dev/null; }

start_stele "$work/s"
load 1500; wait_stored syslog-tcp 1500; wait_checkpointed
succeeds 'the key of the log' stele_cli show 0 --proof -o "$work/zero"
vkey=$(cat "$work/zero/log.vkey")
# accesses ACTION: the access entries of the auditor with this action.
accesses() { search 'kind:access' | jq -c --arg action "$1" '.rows[].payload_b64 | @base64d | fromjson | select(.action == $action and .role == "auditor")'; }
succeeds 'export --tlog' stele_cli export --tlog "$work/tree"
succeeds 'x/mod/sumdb accepts every entry of the tree' check "$work/tree" "$vkey"
same 'an export holds no payload' '' "$(grep -rl tree "$work/tree" || true)"
cp "$work/tree/checkpoint" "$work/old_checkpoint"
first_tile=$(stat -c %Y.%i "$work/tree/tile/0/000")

load 3000; wait_stored syslog-tcp 4500; wait_checkpointed
succeeds 'a second export adds what is new' stele_cli export --tlog "$work/tree"
same 'what was complete was not written again' "$first_tile" "$(stat -c %Y.%i "$work/tree/tile/0/000")"
succeeds 'the tree continues the first checkpoint' check "$work/tree" "$vkey" "$work/old_checkpoint"
same 'partial tiles that became full are gone' '' \
  "$(find "$work/tree" -name '*.p' -type d | while read -r d; do [ -f "${d%.p}" ] && echo "$d"; done || true)"

# Every kind of file altered: refused.
flip() {
  local byte
  byte=$(od -An -t u1 -j "$2" -N 1 "$1" | tr -d ' ')
  printf "\\x$(printf %02x $((byte ^ 1)))" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}
for file in checkpoint tile/0/000 tile/0/003 tile/1/000.p/* tile/entries/000 tile/entries/007; do
  file=$(cd "$work/tree" && ls -td $file | head -n 1)
  cp -a "$work/tree/$file" "$work/whole"
  flip "$work/tree/$file" 70
  exits_with "an altered $file is refused" 1 check "$work/tree" "$vkey"
  cp -a "$work/whole" "$work/tree/$file"
done
succeeds 'the unaltered tree is accepted' check "$work/tree" "$vkey"
exits_with 'the key of another log is refused' 1 check "$work/tree" "stele.invalid/log/0011223344556677+312a990f+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4"

# A tree without entries still proves hashes; later the entries may be added.
succeeds 'export --no-entries' stele_cli export --tlog "$work/hashes" --no-entries
[ ! -e "$work/hashes/tile/entries" ] || fail 'there are entries'
succeeds 'and the entries later' stele_cli export --tlog "$work/hashes"
succeeds 'which are accepted too' check "$work/hashes" "$vkey"

# The same tree from the viewer's server.
base=https://localhost:$(port_of viewer)/log
get() { curl -sS --max-time 20 --cacert "$stele_dir/keys/ca.pem" "${as[@]}" "$@"; }
code() { get -o /dev/null -w '%{http_code}' "$@"; }
header() { get -D - -o /dev/null "$2" | tr -d '\r' | awk -v name="$1" 'tolower($1) == tolower(name) ":" { sub(/^[^ ]* /, ""); print }'; }
as=()
same 'a stranger gets no checkpoint' 401 "$(code "$base/checkpoint")"
same 'and no tile' 401 "$(code "$base/tile/0/000")"
openssl pkcs12 -in "$stele_dir/keys/auditor.p12" -passin "file:$stele_dir/keys/auditor.password" -nodes -out "$work/auditor.pem" 2>/dev/null ||
  fail 'the certificate of the auditor cannot be read'
auditor=(--cert "$work/auditor.pem")
as=("${auditor[@]}")
same 'the auditor gets the checkpoint' 200 "$(code "$base/checkpoint")"
same 'its type' 'text/plain; charset=utf-8' "$(header Content-Type "$base/checkpoint")"
same 'it is not to be cached' no-cache "$(header Cache-Control "$base/checkpoint")"
same 'a tile may be kept, by who may read it' 'private, max-age=31536000, immutable' "$(header Cache-Control "$base/tile/0/000")"
same 'its type' application/octet-stream "$(header Content-Type "$base/tile/0/000")"
get "$base/tile/0/000" -o "$work/tile"
same 'the served tile is the exported one' '' "$(cmp "$work/tile" "$work/tree/tile/0/000" 2>&1)"
same 'entry headers are not served by default' 403 "$(code "$base/tile/entries/000")"
for path in tile/0/999 tile/0/x001/000 tile/0/000.p/256 tile/0/000.p/0 tile/64/000 tile/0/0 nonsense tile/0/000/; do
  same "there is no $path" 404 "$(code "$base/$path")"
done
same 'only GET' 405 "$(code -X PUT "$base/checkpoint")"
for n in $(seq 30); do get "$base/tile/0/000" -o /dev/null; done
same 'one access entry stands for all these reads' 1 "$(accesses tree | jq -r 'select(.result == "ok") | .object' | wc -l)"
same 'what was refused is named' /log/tile/entries/000 "$(accesses tree | jq -r 'select(.result == "denied") | .object')"
stop_stele || fail 'stele up did not stop cleanly'
start_stele "$work/s"
summary=$(accesses tree_summary | jq -r .query | tail -n 1)
[[ "$summary" == *"tiles 3"* ]] || fail "the summary says '$summary'"
pass "and its summary: $summary"
stop_stele || fail 'stele up did not stop cleanly'

# Public, with entries: a stranger mirrors it and checks it; off: nobody.
sed -i '/^\[tlog\]/,$d' "$work/s/stele.toml"
printf '%s\n' '[tlog]' 'serve = "anyone"' 'entries = true' >>"$work/s/stele.toml"
start_stele "$work/s"; wait_checkpointed
base=https://localhost:$(port_of viewer)/log as=()
succeeds 'export once more' stele_cli export --tlog "$work/tree"
mkdir -p "$work/mirror"
(cd "$work/tree" && find . -type f | sed 's|^\./||') | while read -r path; do
  get --fail --create-dirs -o "$work/mirror/$path" "$base/$path" || fail "mirror $path"
done
cp "$work/tree/checkpoint" "$work/mirror/checkpoint"
succeeds 'x/mod/sumdb accepts what a stranger mirrored' check "$work/mirror" "$vkey" "$work/old_checkpoint"
same 'caches between may keep a public tile' 'public, max-age=31536000, immutable' "$(header Cache-Control "$base/tile/0/000")"
same 'a stranger may still not search' 401 "$(code "https://localhost:$(port_of viewer)/api/v1/search")"
stop_stele || fail 'stele up did not stop cleanly'
sed -i 's/serve = "anyone"/serve = "off"/' "$work/s/stele.toml"
start_stele "$work/s"; wait_checkpointed
base=https://localhost:$(port_of viewer)/log as=("${auditor[@]}")
same 'off is off' 403 "$(code "$base/checkpoint")"

# Rolled back: the exported tree remembers.
stop_stele || fail 'stele up did not stop cleanly'
start_stele "$work/other"
load 200; wait_stored syslog-tcp 200; wait_checkpointed
exits_with 'the tree of another log is not continued' 1 stele_cli export --tlog "$work/tree"
finish_test
