# For the scripted tests: a Stele of one's own in a temporary directory, assertions, independent checks of evidence with
# stock tools. A test sources this file, calls begin_test, and ends with finish_test. Exit status: 0 passed, 1 failed,
# 77 skipped (ctest shows it as skipped). ctest sets STELE_BIN, the folder of the built programs.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../../scripts/lib/common.sh"
. "$root/scripts/lib/processes.sh"
. "$root/scripts/lib/stele.sh"

stele_bin=${STELE_BIN:-$root/build/dev/bin}
send="$stele_bin/stele-bench-send"
work=''
checks=0

here="$root/tests/integration"
begin_test() {
  [ -x "$stele_bin/stele" ] || skip "$stele_bin/stele is not built"
  work=$(mktemp -d "${TMPDIR:-/tmp}/stele-test.XXXXXX")
  trap end_of_test EXIT
}

end_of_test() {
  local status=$?
  stop_stele >/dev/null 2>&1 || true
  for pid in $(jobs -p); do kill "$pid" 2>/dev/null || true; done
  if [ "$status" != 0 ] && [ "$status" != 77 ] && [ -n "$work" ]; then
    [ -f "${stele_dir:-/nonexistent}/up.log" ] && { echo "--- last words of stele up:"; tail -n 25 "$stele_dir/up.log"; } >&2
    if [ -n "${STELE_KEEP:-}" ]; then echo "kept $work" >&2; return; fi
  fi
  [ -z "$work" ] || rm -rf "$work"
}

finish_test() { say "passed: $checks checks"; exit 0; }
skip() { echo "SKIPPED: $*"; exit 77; }
fail() { echo "FAILED: $*" >&2; exit 1; }
pass() { checks=$((checks + 1)); say "ok: $*"; }

# same WHAT EXPECTED ACTUAL
same() { if [ "$2" = "$3" ]; then pass "$1"; else fail "$1: expected '$2', got '$3'"; fi; }

# succeeds WHAT COMMAND...   and   exits_with WHAT STATUS COMMAND...
succeeds() {
  local what=$1; shift
  if "$@" >"$work/out" 2>&1; then pass "$what"; else local s=$?; cat "$work/out" >&2; fail "$what: exit status $s from: $*"; fi
}
exits_with() {
  local what=$1 expected=$2 status=0; shift 2
  "$@" >"$work/out" 2>&1 || status=$?
  if [ "$status" = "$expected" ]; then pass "$what"; else cat "$work/out" >&2; fail "$what: exit status $status, not $expected, from: $*"; fi
}

# search QUERY: the answer of `stele search --json` (at most 1000 rows).
search() { stele_cli search --json --limit "${2:-1000}" "$1" 2>/dev/null; }

# found QUERY COUNT [SECONDS]: waits until a search gives exactly COUNT rows; leaves the answer in $work/found.json.
found() {
  local end=$((SECONDS + ${3:-20})) rows=0
  while :; do
    rows=$(search "$1" | tee "$work/found.json" | jq '.rows | length' 2>/dev/null) || rows=none
    if [ "$rows" = "$2" ]; then pass "search $1 finds $2"; return; fi
    [ "$SECONDS" -lt "$end" ] || fail "search $1 finds ${rows:-nothing}, not $2"
    sleep 0.2
  done
}

pid_of() { pid_in_tree "$stele_pid" "$1"; }  # pid_of NAME: a process of the family

# alive: every process of the family runs and none was restarted, and the log still takes and finds a record.
alive() {
  local restarts word
  restarts=$(status_json | jq '[.processes[].restarts] | add')
  same "no process was restarted" 0 "$restarts"
  word="alive$RANDOM$RANDOM"
  printf '<13>1 2026-11-21T06:00:00Z probe test 1 - - %s\n' "$word" >"/dev/tcp/127.0.0.1/$(port_of syslog-tcp)"
  found "$word" 1
}

# verify_says WORD|WORD... [DIR]: the verdict is one of the words, with the exit status that belongs to it. Leaves the report in
# $work/verify.json.
verify_says() {
  local expected=$1 dir=${2:-$stele_dir} status=0 word
  "$stele_bin/stele" verify --json --dir "$dir" >"$work/verify.json" 2>"$work/verify.err" || status=$?
  word=$(jq -r '.word // "none"' "$work/verify.json" 2>/dev/null) || word=none
  [[ "|$expected|" == *"|$word|"* ]] ||
    { cat "$work/verify.json" "$work/verify.err" >&2; fail "verify says $word, not $expected (exit status $status)"; }
  case "$word" in
    OK|OK_UNANCHORED_TAIL|RECOVERED_CRASH) [ "$status" = 0 ] || fail "verify says $word but exits with $status" ;;
    CANNOT_TELL) [ "$status" = 3 ] || fail "verify says $word but exits with $status" ;;
    *) [ "$status" = 1 ] || fail "verify says $word but exits with $status" ;;
  esac
  pass "verify says $word"
}
good_words='OK|OK_UNANCHORED_TAIL|RECOVERED_CRASH'

# Hexadecimal to bytes, and SHA-256 of bytes given as hexadecimal.
bytes_of_hex() { printf "$(sed 's/../\\x&/g' <<<"$1")"; }
sha256_of_hex() { bytes_of_hex "$1" | sha256sum | cut -d' ' -f1; }
hex_of_file() { od -An -v -t x1 "$1" | tr -d ' \n'; }

# root_from_proof SEQUENCE SIZE LEAF_HEX HASH_HEX...: RFC 9162 section 2.1.3.2, written here a second time on purpose.
root_from_proof() {
  local fn=$1 sn=$(($2 - 1)) r=$3 p; shift 3
  for p in "$@"; do
    [ "$sn" -gt 0 ] || { echo "proof too long"; return 1; }
    if [ $((fn & 1)) = 1 ] || [ "$fn" = "$sn" ]; then
      r=$(sha256_of_hex "01$p$r")
      while [ $((fn & 1)) = 0 ] && [ "$fn" != 0 ]; do fn=$((fn >> 1)); sn=$((sn >> 1)); done
    else
      r=$(sha256_of_hex "01$r$p")
    fi
    fn=$((fn >> 1)); sn=$((sn >> 1))
  done
  [ "$sn" = 0 ] || { echo "proof too short"; return 1; }
  echo "$r"
}

# check_evidence DIR SEQUENCE: the files of `stele show SEQ --proof -o DIR`, checked without any code of Stele.
check_evidence() {
  local dir=$1 seq=$2 leaf root size commitment proof=() line
  commitment=$({ printf 'stele/payload/v1'; cat "$dir/salt.bin" "$dir/peer.bin" "$dir/payload.bin"; } | sha256sum | cut -d' ' -f1)
  same "the entry of $seq commits to the payload" "$(hex_of_file "$dir/entry.bin" | cut -c113-176)" "$commitment"
  leaf=$({ printf '\0'; cat "$dir/entry.bin"; } | sha256sum | cut -d' ' -f1)
  size=$(sed -n 2p "$dir/checkpoint")
  root=$(sed -n 3p "$dir/checkpoint" | base64 -d | od -An -v -t x1 | tr -d ' \n')
  while read -r line; do [ -n "$line" ] || break; proof+=("$(base64 -d <<<"$line" | od -An -v -t x1 | tr -d ' \n')"); done \
    < <(tail -n +3 "$dir/record.tlog-proof")
  same "the proof of $seq leads to the root of the checkpoint of $size" "$root" "$(root_from_proof "$seq" "$size" "$leaf" "${proof[@]}")"
  check_note_signature "$dir/checkpoint" "$dir/log.vkey" "$work/note" || fail "the checkpoint's signature is not good"
  pass "openssl accepts the checkpoint's Ed25519 signature"
}

# check_note_signature NOTE VKEY SCRATCH: C2SP signed-note, one Ed25519 signature, with openssl.
check_note_signature() {
  local key name
  name=$(cut -d+ -f1 "$2")
  key=$(cut -d+ -f3- "$2" | base64 -d | od -An -v -t x1 | tr -d ' \n')
  [ "${key:0:2}" = 01 ] || return 1
  bytes_of_hex "302a300506032b6570032100${key:2}" | openssl pkey -pubin -inform DER -out "$3.pem" 2>/dev/null || return 1
  sed '/^$/q' "$1" | sed '$d' >"$3.text"
  grep -F -- "— $name " "$1" | head -n 1 | awk '{ print $3 }' | base64 -d | tail -c +5 >"$3.sig"
  openssl pkeyutl -verify -pubin -inkey "$3.pem" -rawin -in "$3.text" -sigfile "$3.sig" >/dev/null 2>&1
}

# tls_client LISTENER [ARGUMENT...]: standard input over TLS to a listener of this Stele, whose certificate must be good; what it
# answers to standard output. With -no_ign_eof it ends (close_notify) with its input.
tls_client() {
  local port
  port=$(port_of "$1"); shift
  openssl s_client -quiet -nocommands -verify_quiet -verify_return_error -CAfile "$stele_dir/keys/ca.pem" -servername localhost \
    -verify_hostname localhost -connect "127.0.0.1:$port" "$@"
}

# json_lines FILE COUNT [ARGUMENT...]: a file as JSON lines over TLS; prints the answers, and succeeds once the event COUNT has been
# acknowledged.
json_lines() {
  local file=$1 count=$2 end=$((SECONDS + 60)) pid acked=0; shift 2
  rm -f "$work/lines.done"
  : >"$work/lines.answer"
  { cat "$file"; until [ -e "$work/lines.done" ]; do sleep 0.05; done; } |
    tls_client json-lines-tls -no_ign_eof "$@" >"$work/lines.answer" 2>"$work/lines.err" &
  pid=$!
  while [ "$acked" -lt "$count" ] && [ "$SECONDS" -lt "$end" ]; do
    sleep 0.1
    acked=$(tail -n 1 "$work/lines.answer" | jq -r '.ack // 0' 2>/dev/null) || true
    acked=${acked:-0}
    kill -0 "$pid" 2>/dev/null || break
  done
  touch "$work/lines.done"
  wait "$pid" || true
  cat "$work/lines.answer"
  [ "$acked" -ge "$count" ]
}

# account NAME: what a listener counts, from the status (renewed once a second).
account() { status_json | jq -c --arg name "$1" '.listeners[] | select(.name == $name)'; }

# metric SAMPLE [ADDRESS]: the value of one sample of /metrics, its labels as they are told; asked with the certificate made for it, of the
# viewer at ADDRESS.
metric() {
  local port
  port=$(port_of viewer)
  curl -sS --max-time 20 --resolve "localhost:$port:${2:-127.0.0.1}" --cacert "$stele_dir/keys/ca.pem" --cert "$stele_dir/keys/metrics.pem" \
    --key "$stele_dir/keys/metrics.key" "https://localhost:$port/metrics" | awk -v sample="$1" 'substr($0, 1, length(sample) + 1) == sample " " { print substr($0, length(sample) + 2) }'
}

# The kernel's words on the UDP socket of a port: octets still waiting in it (hexadecimal), datagrams it dropped.
socket_waits() { awk -v port=":$(printf '%04X' "$1")" 'index($2, port) { split($5, q, ":"); print q[2] }' /proc/net/udp; }
socket_drops() { awk -v port=":$(printf '%04X' "$1")" 'index($2, port) { print $NF }' /proc/net/udp; }

# udp_balances WHAT SENT: waits until the UDP socket is empty and nothing is under way. Then what was sent is received or dropped by the
# kernel, and all of it stored or counted lost. Leaves the account in $work/account.json.
udp_balances() {
  local port reached=-1 end=$((SECONDS + 60))
  port=$(port_of syslog-udp)
  while :; do
    account syslog-udp >"$work/account.json" || true
    reached=$(jq '.received + (.losses.kernel_drop // 0)' "$work/account.json" 2>/dev/null) || reached=-1
    if [ "$(socket_waits "$port")" = 00000000 ] && [ "${reached:-0}" -ge "$2" ] &&
       [ "$(jq '.received + (.losses.kernel_drop // 0) == .stored + .lost' "$work/account.json")" = true ]; then break; fi
    [ "$SECONDS" -lt "$end" ] || { cat "$work/account.json" >&2; fail "syslog-udp does not settle: $reached of $2"; }
    sleep 0.3
  done
  same "$1: received + kernel drops = sent" "$2" "$(jq '.received + (.losses.kernel_drop // 0)' "$work/account.json")"
  same "$1: stored + lost = sent" "$2" "$(jq '.stored + .lost' "$work/account.json")"
  same "$1: the kernel dropped as many" "$(socket_drops "$port")" "$(jq '.losses.kernel_drop // 0' "$work/account.json")"
  same "$1: nothing is unknown" 0 "$(jq .unknown_losses "$work/account.json")"
}

# losses_recorded WHAT: the sum of the loss entries of the UDP listener is what is counted lost.
losses_recorded() {
  local end=$((SECONDS + 30)) sum=none lost
  lost=$(account syslog-udp | jq .lost)
  while :; do
    sum=$(search 'kind:loss' | jq '[.rows[].payload_b64 | @base64d | fromjson | select(.listener == "syslog-udp") | .count] | add // 0') || sum=none
    if [ "$sum" = "$lost" ]; then pass "$1: the loss entries add up to $lost"; return; fi
    [ "$SECONDS" -lt "$end" ] || fail "$1: the loss entries add up to $sum, lost are $lost"
    sleep 0.3
  done
}
