#!/usr/bin/env bash
# Goal: two appliances witness each other: each one's checkpoints carry the other's cosignature, over HTTP and TLS and by file; a log
# that was rolled back with its TPM, which nothing inside it can see, is refused by the other and alarmed at home.
# Method: two Steles (A, B), a `stele witness` beside each, tlog-policy files, openssl for the cosignature, curl for the statuses;
# A is copied whole, logs on, and is put back whole.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
begin_test
declare -A witness_pids
quit() { local pid; for pid in "${witness_pids[@]}"; do kill "$pid" 2>/dev/null || true; done; end_of_test; }
trap quit EXIT
load() { "$send" --tcp "127.0.0.1:$(port_of syslog-tcp)" --count "$1" --tag "$2" --seed "$1" >/dev/null; wait_stored syslog-tcp "$1"; wait_checkpointed; }
# use NAME: which of the two the helpers of lib.sh speak to.
declare -A pids
use() { stele_dir="$work/$1"; stele_pid=${pids[$1]:-}; }
up() { start_stele "$work/$1" || fail "$1 did not start"; pids[$1]=$stele_pid; }
down() { use "$1"; stop_stele || fail "$1 did not stop cleanly"; pids[$1]=''; }

# serve NAME PORT [ARGUMENT...]: the witness of that name; sets $witness_port.
serve() {
  local name=$1 port=$2 end=$((SECONDS + 20)); shift 2
  "$stele_bin/stele" witness serve --dir "$work/w$name" --listen "127.0.0.1:$port" "$@" >"$work/w$name.out" 2>>"$work/w$name.log" &
  witness_pids[$name]=$!
  until grep -q serving "$work/w$name.out"; do
    kill -0 "${witness_pids[$name]}" 2>/dev/null || { cat "$work/w$name.log" >&2; fail "witness $name did not start"; }
    [ "$SECONDS" -lt "$end" ] || fail "witness $name is not ready"
    sleep 0.05
  done
  witness_port=$(grep -o '127\.0\.0\.1:[0-9]*' "$work/w$name.out" | cut -d: -f2)
}
unserve() { kill "${witness_pids[$1]}"; wait "${witness_pids[$1]}" 2>/dev/null || true; unset "witness_pids[$1]"; }
state_of() { status_json | jq -r --arg name "$1" '.witnesses.witnesses[]? | select(.name == $name) | .state'; }
await() {  # await WHAT EXPECTED COMMAND...
  local what=$1 expected=$2 end=$((SECONDS + 40)) got=''; shift 2
  until got=$("$@" 2>/dev/null) && [ "$got" = "$expected" ]; do
    [ "$SECONDS" -lt "$end" ] || { status_json | jq .witnesses >&2; fail "$what: '$got', not '$expected'"; }
    sleep 0.2
  done
  pass "$what: $expected"
}

succeeds 'witness init' "$stele_bin/stele" witness init --dir "$work/wA" --name witness.invalid/a
succeeds 'and another' "$stele_bin/stele" witness init --dir "$work/wB" --name witness.invalid/b
exits_with 'a key is never replaced' 1 "$stele_bin/stele" witness init --dir "$work/wB" --name witness.invalid/b
vkey_b=$(cat "$work/wB/witness.vkey")

# The two logs make their keys, and each witness learns the other's log.
stele_more_toml=$'[witness]\npolicy = "witnesses.policy"\ninterval_s = 1\ntls_ca = "keys/peer-ca.pem"\n[tlog]\nserve = "anyone"'
for name in A B; do
  mkdir -m 0700 "$work/$name"
  stele_toml | sed '/^\[witness\]/,/^tls_ca/d' >"$work/$name/stele.toml"
  up "$name"; succeeds "the key of $name" stele_cli show 0 --proof -o "$work/zero$name"; down "$name"
  stele_toml >"$work/$name/stele.toml"
done
cat "$work/zeroA/log.vkey" >>"$work/wB/logs"
cat "$work/zeroB/log.vkey" >>"$work/wA/logs"

# A's witness is B's, over TLS with B's own certificate; B's is A's, over plain HTTP.
serve A 0; port_a=$witness_port
serve B 0 --tls-certificate "$work/B/keys/ingest.pem" --tls-key "$work/B/keys/ingest.key"; port_b=$witness_port
cp "$work/B/keys/ca.pem" "$work/A/keys/peer-ca.pem"
cat >"$work/A/witnesses.policy" <<POLICY
# A's checkpoints count when B's witness has cosigned them.
log $(cat "$work/zeroA/log.vkey")
witness b $vkey_b https://localhost:$port_b
quorum b
POLICY
printf 'witness a %s http://127.0.0.1:%s/some/prefix\nquorum a\n' "$(cat "$work/wA/witness.vkey")" "$port_a" >"$work/B/witnesses.policy"
up A; up B
for name in A B; do use "$name"; load 300 "from$name"; done
use A; await 'B has cosigned A' cosigned state_of b
use B; await 'A has cosigned B' cosigned state_of a
use A
same 'the courier alone sees the network of the machine' 'empty namespace' "$(status_json | jq -r .network)"
courier=$(jq -r '.pids["stele-courier"]' "$stele_dir/run/ready.json")
same 'the courier holds nothing of the store' '' "$(ls -l "/proc/$courier/fd" | grep store || true)"

# What is served: the checkpoint with the cosignature; openssl accepts it.
succeeds 'the quorum reaches everything' wait_cosigned
curl -sS --cacert "$stele_dir/keys/ca.pem" "https://localhost:$(port_of viewer)/log/checkpoint" >"$work/served"
line=$(grep -F -- '— witness.invalid/b ' "$work/served") || { cat "$work/served" >&2; fail 'the served checkpoint is not cosigned'; }
hex=$(awk '{ print $3 }' <<<"$line" | base64 -d | od -An -v -t x1 | tr -d ' \n')
time_s=$((16#${hex:8:16}))
{ printf 'cosignature/v1\ntime %d\n' "$time_s"; sed '/^$/q' "$work/served" | sed '$d'; } >"$work/message"
bytes_of_hex "${hex:24}" >"$work/signature"
key=$(cut -d+ -f3- <<<"$vkey_b" | base64 -d | od -An -v -t x1 | tr -d ' \n')
bytes_of_hex "302a300506032b6570032100${key:2}" | openssl pkey -pubin -inform DER -out "$work/witness.pem" 2>/dev/null
check_cosignature() { openssl pkeyutl -verify -pubin -inkey "$work/witness.pem" -rawin -in "$1" -sigfile "$work/signature"; }
succeeds 'openssl accepts the cosignature' check_cosignature "$work/message"
sed 's/^time .*/time 1/' "$work/message" >"$work/message2"
exits_with 'at another time it does not' 1 check_cosignature "$work/message2"
[ $((time_s - $(date +%s))) -lt 60 ] && [ $(($(date +%s) - time_s)) -lt 60 ] || fail "the time of the cosignature is $time_s"
pass 'its time is now'

# A bundle carries the word of the witness, and the auditor's own policy judges it.
nonce=$(head -c 32 /dev/urandom | od -An -v -t x1 | tr -d ' \n')
audit_says() {  # audit_says WORD FILE [OPTION...]
  local word=$1; shift
  "$stele_bin/stele-audit" --json --nonce "$nonce" "$@" >"$work/audit.json" 2>"$work/audit.err" || true
  [ "$(jq -r .word "$work/audit.json")" = "$word" ] || { cat "$work/audit.json" "$work/audit.err" >&2; fail "audit says $(jq -r .word "$work/audit.json"), not $word"; }
  pass "audit says $word: $(jq -r .detail "$work/audit.json")"
}
printf 'witness b %s\nquorum b\n' "$vkey_b" >"$work/mine.policy"
printf 'witness a %s\nquorum a\n' "$(cat "$work/wA/witness.vkey")" >"$work/other.policy"
printf 'witness b %s\nwitness a %s\ngroup g all a b\nquorum g\n' "$vkey_b" "$(cat "$work/wA/witness.vkey")" >"$work/both.policy"
succeeds 'a bundle of A' stele_cli bundle --nonce "$nonce" --range 1..200 -o "$work/a.tar"
audit_says OK "$work/a.tar" --witness-policy "$work/mine.policy"
same 'with the quorum of the policy' 'true b' "$(jq -r '"\(.witnesses.quorum) \(.witnesses.witnesses[0].name)"' "$work/audit.json")"
same 'the policy of the box rides along' "$(cat "$work/A/witnesses.policy")" "$(tar -xOf "$work/a.tar" evidence/witnesses/policy)"
audit_says OK "$work/a.tar"
same 'without a policy nobody is believed' skipped "$(jq -r '.checks[] | select(.name == "witnesses") | .result' "$work/audit.json")"
audit_says CANNOT_TELL "$work/a.tar" --witness-policy "$work/other.policy"
audit_says CANNOT_TELL "$work/a.tar" --witness-policy "$work/both.policy"
same 'because of the witnesses' witnesses "$(jq -r '[.checks[] | select(.result == "failed") | .name] | first' "$work/audit.json")"
exits_with 'a policy that is none is refused' 2 "$stele_bin/stele-audit" "$work/a.tar" --witness-policy "$work/zeroA/log.vkey"
use B; succeeds 'a bundle of B' stele_cli bundle --nonce "$nonce" --range 1..200 -o "$work/b.tar"; use A
audit_says CANNOT_TELL "$work/b.tar" --witness-policy "$work/mine.policy"
# B's bundle with A's cosigned checkpoint in it: the manifest fits, the story does not.
mkdir -p "$work/mixed"; tar -xf "$work/b.tar" -C "$work/mixed"; tar -xf "$work/a.tar" -C "$work/mixed" evidence/witnesses
names=$(tar -tf "$work/b.tar" | sed 's,^evidence/,,' | grep -v '^manifest.json$')
(cd "$work/mixed/evidence" && paste -d' ' <(stat -c '%n %s' $names) <(sha256sum $names | cut -d' ' -f1) |
  jq -R 'split(" ") | {name: .[0], size: (.[1] | tonumber), sha256: .[2]}' | jq -s '{files: .}' >manifest.json)
(cd "$work/mixed" && tar --format=ustar --blocking-factor=1 --owner=0 --group=0 --numeric-owner -cf "$work/mixed.tar" $(tar -tf "$work/b.tar"))
audit_says TAMPERED "$work/mixed.tar" --witness-policy "$work/mine.policy"
same 'because of the witnesses, too' witnesses "$(jq -r '[.checks[] | select(.result == "failed") | .name] | first' "$work/audit.json")"

# The witness to everybody else.
post() { curl -sS -o "$work/body" -w '%{http_code}' --cacert "$work/B/keys/ca.pem" --data-binary "$1" "https://localhost:$port_b/add-checkpoint"; }
same 'nonsense is 400' 400 "$(post 'nonsense')"
note=$(cat "$work/served")
same 'from nothing it is 409' 409 "$(post "$(printf 'old 0\n\n%s\n' "$note")
")"
[[ "$(cat "$work/body")" =~ ^[0-9]+$ ]] || fail 'the conflict names no size'
curl -sS --cacert "$work/B/keys/ca.pem" --data-binary "$(printf 'old 0\n\n%s\n' "$(sed 's/^stele.invalid/other.invalid/' <<<"$note")")
" -o /dev/null -w '%{http_code}' "https://localhost:$port_b/add-checkpoint" >"$work/code"
same 'an unknown log is 404' 404 "$(cat "$work/code")"

# By file: A's next checkpoint, while the witness is out of reach.
unserve B
use A; load 600 byfile
await 'the witness is missed' unreachable state_of b
succeeds 'a request as a file' "$stele_bin/stele" witness request --dir "$stele_dir" -o "$work/request" --witness b
succeeds 'signed elsewhere' "$stele_bin/stele" witness sign --dir "$work/wB" "$work/request" -o "$work/answer"
succeeds 'and brought back' "$stele_bin/stele" witness import --dir "$stele_dir" "$work/answer"
grep -q 'cosigned by b' "$work/out" || fail 'the import does not name the witness'
exits_with 'the same request again is a conflict' 1 "$stele_bin/stele" witness sign --dir "$work/wB" "$work/request" -o "$work/answer2"
exits_with 'which the import explains' 1 "$stele_bin/stele" witness import --dir "$stele_dir" "$work/answer2"
grep -q -- '--old' "$work/out" || fail 'the import does not say what to do'
sed 's/^status 200/status 409/' "$work/answer" >"$work/broken"
exits_with 'a broken answer is refused' 2 "$stele_bin/stele" witness import --dir "$stele_dir" "$work/broken"
# A refusal by file is as much of an alarm as one over the network.
printf 'stele-witness-answer/v1\nstatus 422\nreason another history\n\n' >"$work/forked"
exits_with 'an answer that tells of a fork' 1 "$stele_bin/stele" witness import --dir "$stele_dir" "$work/forked"
found 'kind:alarm witness_fork' 1
printf 'stele-witness-answer/v1\nstatus 409\n\n99999999\n' >"$work/larger"
exits_with 'one that knows more of this log than there is' 1 "$stele_bin/stele" witness import --dir "$stele_dir" "$work/larger"
found 'kind:alarm witness_fork' 2
serve B "$port_b" --tls-certificate "$work/B/keys/ingest.pem" --tls-key "$work/B/keys/ingest.key"
await 'back on the network' cosigned state_of b

# The attack that nothing inside A can see: the whole of A, its TPM too, as it was.
use A; load 700 before; succeeds 'cosigned before the copy' wait_cosigned
down A
cp -a "$work/A" "$work/A.copy"
up A; load 400 incriminating; succeeds 'cosigned after it' wait_cosigned
down A
rm -rf "$work/A"; cp -a "$work/A.copy" "$work/A"
verify_says "$good_words" "$work/A"; pass 'A by itself sees nothing: disk and TPM were put back together'
up A; use A
await 'B refuses the log that went back' forked state_of b
found 'kind:alarm witness_fork' 3  # two of them told by file above
load 3000 grown
said_422() { grep -c '^.*422 .*does not verify' "$work/wB.log" | sed 's/[1-9][0-9]*/yes/'; }
await 'nor does it cosign it when it has grown' yes said_422
same 'which A knows' forked "$(state_of b)"
same 'the alarm is not repeated' 3 "$(search 'kind:alarm witness_fork' | jq '.rows | length')"
use B; same 'B is as good as before' cosigned "$(state_of a)"

# Fail-closed: without its quorum no checkpoint is served.
use A; down A
sed -i 's/^interval_s = 1/interval_s = 1\nquorum_missing = "closed"/' "$work/A/stele.toml"
rm -rf "$work/A/state/courier"
up A; use A
wait_checkpointed
same 'closed: no checkpoint without its quorum' 503 \
  "$(curl -sS -o /dev/null -w '%{http_code}' --cacert "$stele_dir/keys/ca.pem" "https://localhost:$(port_of viewer)/log/checkpoint")"
found grown 1000 >/dev/null; pass 'but it takes and finds records as ever'
down A; down B
finish_test
