#!/usr/bin/env bash
# Usage: tests/browser/run.sh [SCREENSHOTS]
#
# Goal: in a real browser against the real daemons, every row the viewer shows is proven, an altered one is not, and no log
# text ever becomes anything but text; what its button downloads is evidence, and the verify.html in that judges it from the disk.
# Method: `stele up` in a temporary directory, ordinary and hostile events over UDP, TCP and HTTPS, then run.mjs, stele-audit and
# verify_page.mjs; network_page.mjs on a log of its own.
#
# SCREENSHOTS is the folder for the pictures (build/browser). STELE_BIN is the folder of the built programs, STELE_CHROMIUM
# the browser; STELE_KEEP=1 keeps the temporary directory of a failed run.
. "$(dirname "${BASH_SOURCE[0]}")/../integration/lib.sh"
cd "$root/tests/browser" || exit 1

screenshots=${1:-$root/build/browser}
chromium=${STELE_CHROMIUM:-$(command -v chromium || true)}
[ -x "$chromium" ] || fail 'there is no chromium; run scripts/packages --for test, or set STELE_CHROMIUM'
command -v node >/dev/null || fail 'there is no node; run scripts/packages --for test'
command -v jq >/dev/null || fail 'there is no jq; run scripts/packages --for test'
if [ ! -d node_modules/playwright-core ]; then
  command -v npm >/dev/null || fail 'there is no npm; run scripts/packages --for test'
  npm ci --ignore-scripts --no-audit --no-fund >/dev/null || fail 'npm ci failed in tests/browser'
fi

begin_test
mkdir -p -m 0700 "$work/s"
cat >"$work/s/stele.toml" <<'TOML'
[viewer]
port = 0
[anchor]
interval_ms = 4000
[[zones]]
name = "default"
interface = "eth1"
address = "127.0.0.1"
allowed_sources = ["127.0.0.0/9"]
syslog_udp_port = 0
syslog_tcp_port = 0
https_json_port = 0
[[zones]]
name = "operator"
interface = "eth0"
allowed_sources = ["127.128.0.0/9"]
[[zones]]
name = "alert"
interface = "eth0"
address = "127.0.0.1"
[[zones.flows]]
name = "siem"
to = "127.128.0.61"
tcp_ports = [6514]
TOML
start_stele "$work/s"
udp=$(port_of syslog-udp) tcp=$(port_of syslog-tcp)
keys="$stele_dir/keys"
user=auditor
password=$(awk -v user="$user" '$1 == user { print $2 }' "$keys/first-passwords")
[ -n "$password" ] || fail "keys/first-passwords has no password of $user"

send_udp() { while IFS= read -r line; do printf '%s' "$line" >"/dev/udp/127.0.0.1/$udp"; done <"$1"; }
send_tcp() { cat "$1" >"/dev/tcp/127.0.0.1/$tcp"; }
lines() { wc -l <"$1"; }

# Printing a datagram must not be split at what bash takes for a character.
export LC_ALL=C
marker="hostile$RANDOM$RANDOM"
node hostile_events.mjs --marker "$marker" >"$work/hostile.syslog"
node hostile_events.mjs --marker "$marker" --json >"$work/hostile.ndjson"
awk 'NR % 2' "$work/hostile.syslog" >"$work/hostile.udp"
awk 'NR % 2 == 0' "$work/hostile.syslog" >"$work/hostile.tcp"
send_udp "$work/hostile.udp"
send_tcp "$work/hostile.tcp"
post_events "$work/hostile.ndjson" >/dev/null
post_events "$root/tests/data/application.ndjson" >/dev/null
send_tcp "$root/tests/data/devices.log"
send_udp "$root/tests/data/devices.log"
wait_stored syslog-udp $(($(lines "$work/hostile.udp") + $(lines "$root/tests/data/devices.log"))) ||
  fail 'not every datagram was stored'
wait_stored syslog-tcp $(($(lines "$work/hostile.tcp") + $(lines "$root/tests/data/devices.log"))) ||
  fail 'not every line was stored'
wait_stored https-json $(($(lines "$work/hostile.ndjson") + $(lines "$root/tests/data/application.ndjson"))) ||
  fail 'not every JSON event was stored'
wait_checkpointed
pass "$(committed) entries are in the log"

mkdir -p "$screenshots"
nonce=$(head -c 32 /dev/urandom | od -An -v -t x1 | tr -d ' \n')
pin="$work/pin.pem"
jq -r .public_key_pem "$work/s/state/provisioning.json" >"$pin"
node run.mjs --url "https://localhost:$(port_of viewer)/" --ca "$keys/ca.pem" --cert "$keys/$user.pem" --key "$keys/$user.key" \
  --user "$user" --password "$password" --chromium "$chromium" --scratch "$screenshots" --hostile "$marker" \
  --syslog-udp "127.0.0.1:$udp" --evidence "$work" --nonce "$nonce" || fail 'the viewer did not hold every check (above)'
pass 'the viewer holds every check'

node network_page.mjs --chromium "$chromium" --scratch "$screenshots" || fail 'the Network screen did not hold every check (above)'
pass 'the Network screen holds every check'

# What the viewer's button saved convinces stele-audit; the verify.html in it does its work from the disk.
audited() { "$stele_bin/stele-audit" --json --nonce "$nonce" --pin "$pin" "$work/$1" >"$work/$1.json" || { cat "$work/$1.json" >&2; return 1; }; }
succeeds 'stele-audit accepts the downloaded range' audited range.tar
same 'nothing of it is missing' true "$(jq .selection.contiguous "$work/range.tar.json")"
succeeds 'stele-audit accepts the downloaded search' audited search.tar
same 'which is a query' query "$(jq -r .selection.kind "$work/search.tar.json")"
mkdir "$work/x"
tar -xf "$work/range.tar" -C "$work/x"
same 'stele-audit names the hash of the verify.html in it' "$(sha256sum "$work/x/evidence/verify.html" | cut -d' ' -f1)" \
  "$(jq -r .verify_page_sha256 "$work/range.tar.json")"
succeeds 'it is the one the viewer was built with' cmp "$root/web/viewer/build/page/verify.html" "$work/x/evidence/verify.html"
succeeds 'and the one the viewer gives away' cmp "$work/verify.html" "$work/x/evidence/verify.html"
node verify_page.mjs --page "$work/x/evidence/verify.html" --bundle "$work/range.tar" --nonce "$nonce" --pin "$pin" --chromium "$chromium" \
  --scratch "$screenshots" || fail 'verify.html did not hold every check (above)'
pass 'verify.html from the bundle holds every check'

alive
succeeds 'stele up stops cleanly' stop_stele
verify_says "$good_words" "$work/s"
finish_test
