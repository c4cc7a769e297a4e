#!/usr/bin/env bash
# Goal: JSON events over HTTPS as real senders send them: compressed, chunked, on one connection, with a client certificate, signed, in the
# shapes of OpenTelemetry and Elastic agents; and nothing a hostile sender does ends a process or is stored.
# Method: curl against a real `stele up`; keys and certificates made by openssl; what was stored is read back and compared.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
need gzip openssl
begin_test

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=camera-3 \
  -keyout "$work/camera.key" -out "$work/camera.pem" 2>/dev/null
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=camera-3 \
  -keyout "$work/stranger.key" -out "$work/stranger.pem" 2>/dev/null
fingerprint=$(openssl x509 -in "$work/camera.pem" -noout -fingerprint -sha256 | cut -d= -f2)
openssl genpkey -algorithm ed25519 -out "$work/door.key" 2>/dev/null
openssl pkey -in "$work/door.key" -pubout -out "$work/door.pub"
mkdir -m 0700 "$work/s"
{
  stele_toml
  cat <<TOML
[[ingest.senders]]
name = "gate-a"
token = "token-of-gate-a-0001"
[[ingest.senders]]
name = "gate-b"
token_sha256 = "$(printf 'token-of-gate-b-0001' | sha256sum | cut -d' ' -f1)"
[[ingest.senders]]
name = "camera-3"
fingerprint = "sha256:$fingerprint"
[[ingest.keys]]
kid = "door-7"
alg = "EdDSA"
public_key = """
$(cat "$work/door.pub")
"""
TOML
} >"$work/s/stele.toml"
start_stele "$work/s"
url="https://localhost:$(port_of https-json)"
ask() {  # ask PATH [CURL ARGUMENT...]: the answer's body; its status in $work/status
  local path=$1; shift
  curl -sS --cacert "$stele_dir/keys/ca.pem" -o "$work/answer" -w '%{http_code}' --max-time 60 "$@" "$url$path" >"$work/status" 2>"$work/curl.err" || true
  cat "$work/answer" 2>/dev/null || true
}
status_is() { same "$1" "$2" "$(cat "$work/status")"; }
a=(-H 'Authorization: Bearer token-of-gate-a-0001')
b=(-H 'Authorization: Bearer token-of-gate-b-0001')
ndjson=(-H 'Content-Type: application/x-ndjson' --data-binary)

# 1. Who may send, and as whom.
printf '{"w":"wren-one","n":1}\n' >"$work/one"
ask /v1/events "${ndjson[@]}" "@$work/one" >/dev/null; status_is 'without a token' 401
ask /v1/events -H 'Authorization: Bearer token-of-gate-a-0002' "${ndjson[@]}" "@$work/one" >/dev/null; status_is 'with a wrong token' 401
ask /v1/events --cert "$work/stranger.pem" --key "$work/stranger.key" "${ndjson[@]}" "@$work/one" >/dev/null
status_is 'with a certificate that is not registered' 401
ask /v1/events "${a[@]}" "${ndjson[@]}" "@$work/one" >/dev/null; status_is 'with the token of gate-a' 200
ask /v1/events "${b[@]}" "${ndjson[@]}" "@$work/one" >/dev/null; status_is 'with the token of gate-b, known by its digest' 200
ask /v1/events --user "agent:token-of-gate-b-0001" "${ndjson[@]}" "@$work/one" >/dev/null; status_is 'with the token as a password' 200
ask /v1/events --cert "$work/camera.pem" --key "$work/camera.key" "${ndjson[@]}" "@$work/one" >/dev/null; status_is 'with the certificate' 200
ask /v1/events "${a[@]}" --cert "$work/camera.pem" --key "$work/camera.key" "${ndjson[@]}" "@$work/one" >/dev/null
status_is 'as two senders at once' 401
found 'wren-one source:gate-a' 1
found 'wren-one source:gate-b' 2
found 'wren-one source:camera-3' 1
same 'two tokens from one address are two sources' 3 "$(search wren-one | jq '[.rows[].source.id] | unique | length')"

# 2. Compressed, chunked, several requests on one connection.
for i in $(seq 5000); do printf '{"w":"wren-packed","n":%d}\n' "$i"; done >"$work/many"
gzip -9 <"$work/many" >"$work/many.gz"
ask /v1/events "${a[@]}" -H 'Content-Encoding: gzip' "${ndjson[@]}" "@$work/many.gz" >/dev/null; status_is 'gzip' 200
same 'all events of the compressed body are numbered' 5000 "$(jq '[.ranges[] | .[1] - .[0] + 1] | add' "$work/answer")"
last=$(jq '.ranges[-1][1]' "$work/answer")
same 'the last of them is as it was' '{"w":"wren-packed","n":5000}' "$(stele_cli show "$last" --raw)"
ask /v1/events "${a[@]}" -H 'Transfer-Encoding: chunked' -H 'Content-Encoding: gzip' "${ndjson[@]}" "@$work/many.gz" >/dev/null
status_is 'gzip in chunks' 200
curl -sS --cacert "$stele_dir/keys/ca.pem" -v "${a[@]}" "${ndjson[@]}" "@$work/one" "$url/v1/events" --next -sS --cacert "$stele_dir/keys/ca.pem" -v \
  "${a[@]}" "${ndjson[@]}" "@$work/one" "$url/v1/events" >/dev/null 2>"$work/curl.err"
same 'the second request uses the same connection' 1 "$(grep -c 'Re-using existing connection' "$work/curl.err")"

# 3. The receipt: leaf hashes that are those of the log, and a signed checkpoint.
wait_checkpointed
ask '/v1/events?receipt=leaves' "${a[@]}" "${ndjson[@]}" "@$work/one" >"$work/receipt"
seq=$(jq '.ranges[0][0]' "$work/receipt")
wait_checkpointed
succeeds "show $seq --proof -o" stele_cli show "$seq" --proof -o "$work/evidence"
same 'the receipt holds the hash of the leaf' "$({ printf '\0'; cat "$work/evidence/entry.bin"; } | sha256sum | cut -d' ' -f1)" \
  "$(jq -r '.leaves[0]' "$work/receipt")"
jq -rj .checkpoint "$work/receipt" >"$work/checkpoint"
check_note_signature "$work/checkpoint" "$work/evidence/log.vkey" "$work/note" || fail 'the checkpoint of the answer is not signed by the log'
pass 'openssl accepts the checkpoint in the answer'
ask /v1/events "${a[@]}" -H 'Prefer: receipt' -H 'Content-Encoding: gzip' "${ndjson[@]}" "@$work/many.gz" >/dev/null
same 'as many leaves as events, over several frames' 5000 "$(jq '.leaves | unique | length' "$work/answer")"

# 4. Signed events: right, changed, of a stranger.
b64url() { base64 -w0 | tr '+/' '-_' | tr -d '='; }
jws() {  # jws KEY KID PAYLOAD: compact, EdDSA
  local text; text="$(printf '{"alg":"EdDSA","kid":"%s"}' "$2" | b64url).$(printf '%s' "$3" | b64url)"
  printf '%s' "$text" >"$work/text"
  printf '%s.%s' "$text" "$(openssl pkeyutl -sign -inkey "$1" -rawin -in "$work/text" | b64url)"
}
good=$(jws "$work/door.key" door-7 '{"event":"door opened"}')
bad="${good%.*}.$(printf '%064d' 7 | b64url)"
unknown=$(jws "$work/door.key" door-8 '{"event":"door opened"}')
printf '"%s"\n"%s"\n"%s"\n{"plain":1}\n' "$good" "$bad" "$unknown" >"$work/signed"
ask /v1/events "${a[@]}" "${ndjson[@]}" "@$work/signed" >/dev/null; status_is 'signed events' 200
first=$(jq '.ranges[0][0]' "$work/answer")
found 'flag:signature_valid' 1
same 'the right one' "$first" "$(jq '.rows[0].seq' "$work/found.json")"
found 'flag:signature_unknown' 1
found 'flag:signature_invalid kind:json' 1
same 'the wrong one is kept as it came' "\"$bad\"" "$(stele_cli show $((first + 1)) --raw)"
grep -q signature_invalid <(stele_cli show $((first + 1))) || fail 'stele show does not say signature_invalid'
pass 'stele show says signature_invalid'
found 'kind:alarm signature_invalid' 1
same 'the status has the alarm' signature_invalid "$(status_json | jq -r '[.alarms[].alarm] | map(select(. == "signature_invalid"))[0]')"

# 5. The doors of agents: OpenTelemetry, Elastic bulk, webhooks.
cat >"$work/otlp" <<'JSON'
{"resourceLogs":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"wren-shop"}}]},
 "scopeLogs":[{"scope":{"name":"lib"},"logRecords":[{"timeUnixNano":"1544712660300000000","severityNumber":17,"body":{"stringValue":"wren-otlp one"}},
 {"severityNumber":9,"body":{"stringValue":"wren-otlp two"}}]}]}]}
JSON
same 'OTLP is answered with {}' '{}' "$(ask /v1/logs "${a[@]}" -H 'Content-Type: application/json' --data-binary "@$work/otlp")"
found 'wren-otlp app:wren-shop severity:err' 1
found 'wren-otlp' 2
gzip <"$work/otlp" >"$work/otlp.gz"
ask /v1/logs "${a[@]}" -H 'Content-Type: application/json' -H 'Content-Encoding: gzip' --data-binary "@$work/otlp.gz" >/dev/null
status_is 'OTLP compressed' 200
ask /v1/logs "${a[@]}" -H 'Content-Type: application/x-protobuf' --data-binary x >/dev/null; status_is 'OTLP as protobuf' 415

printf '{"create":{"_index":"fluent-bit"}}\n{"log":"wren-bulk one","host":"web1"}\n{"index":{}}\n{"log":"wren-bulk two"}\n{"delete":{"_id":"1"}}\n' >"$work/bulk"
ask /logs-wren/_bulk "${a[@]}" "${ndjson[@]}" "@$work/bulk" >/dev/null; status_is 'bulk' 200
same 'each action is answered' '[["create",201],["index",201],["delete",405]]' \
  "$(jq -c '[.items[] | to_entries[0] | [.key, .value.status]]' "$work/answer")"
seq=$(jq -r '.items[0].create._id' "$work/answer")
stele_cli show "$seq" --raw >"$work/raw"
head -n 2 "$work/bulk" | head -c -1 | cmp - "$work/raw" || fail 'the pair of lines was changed'
pass 'action and document are stored as they came'
found 'host:web1 wren-bulk' 1
found 'wren-bulk' 2
same 'the client of Elastic finds its product' 'Elasticsearch' \
  "$(curl -sS --cacert "$stele_dir/keys/ca.pem" "${a[@]}" -D - -o /dev/null "$url/" | tr -d '\r' | sed -n 's/^X-Elastic-Product: //ip')"
ask /_cluster/health "${a[@]}" >/dev/null; status_is 'health' 200
ask / "${a[@]}" --head >/dev/null; status_is 'HEAD /' 200
ask /webhook/turnstile "${a[@]}" -H 'Content-Type: application/json' --data-binary $'[{"w":"wren-hook"},\n 2]\n' >/dev/null; status_is 'webhook' 200
found 'wren-hook' 1

# 6. Hostile: nothing of these is stored, nobody dies.
sleep 1.2  # the counters are told once a second
before=$(stored_by https-json)
receiver=$(pid_of stele-receive)
memory=$(awk '/^VmHWM/ { print $2 }' "/proc/$receiver/status")
head -c 300000000 /dev/zero | tr '\0' '1' | gzip -9 >"$work/bomb.gz"
ask /v1/events "${a[@]}" -H 'Content-Encoding: gzip' "${ndjson[@]}" "@$work/bomb.gz" >/dev/null; status_is 'a bomb' 413
head -c 2000 "$work/many.gz" >"$work/cut.gz"
ask /v1/events "${a[@]}" -H 'Content-Encoding: gzip' "${ndjson[@]}" "@$work/cut.gz" >/dev/null; status_is 'a cut stream' 400
ask /v1/events "${a[@]}" -H 'Content-Encoding: br' "${ndjson[@]}" "@$work/one" >/dev/null; status_is 'an encoding nobody agreed on' 415
ask /v1/events "${a[@]}" -H 'Content-Type: application/json' --data-binary '[{"a":1}]' >/dev/null; status_is 'an array' 400
ask /_bulk "${a[@]}" "${ndjson[@]}" $'{"create":{}}\n' >/dev/null; status_is 'an action without a document' 400
ask /v1/logs "${a[@]}" -H 'Content-Type: application/json' --data-binary "$(printf '[%.0s' $(seq 5000))" >/dev/null; status_is 'nesting without end' 400
grown=$(($(awk '/^VmHWM/ { print $2 }' "/proc/$receiver/status") - memory))
[ "$grown" -lt 65536 ] || fail "the receiver grew by $grown KiB"
pass "the bomb cost $grown KiB"
sleep 1.2
same 'nothing of it was stored' "$before" "$(stored_by https-json)"
# Broken events are events: kept, flagged, named.
{ printf '{"w":"wren-deep","a":%s1%s}\n' "$(printf '[%.0s' $(seq 200))" "$(printf ']%.0s' $(seq 200))"
  printf '{"w":"wren-huge","n":1e400000,"m":%s}\n' "$(printf '9%.0s' $(seq 400))"
  printf '{"w":"wren-latin \xe9\xff"}\n'; printf '{"w":"wren-nan","n":NaN}\n'; } >"$work/broken"
ask /v1/events "${a[@]}" "${ndjson[@]}" "@$work/broken" >/dev/null
same 'too deep, not UTF-8 and NaN are named; a huge number is JSON' '[1,3,4]' "$(jq -c .unparsed "$work/answer")"
found 'wren-latin flag:unparsed' 1
# A body that trickles holds one connection and nobody else.
{ printf 'POST /v1/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer token-of-gate-a-0001\r\nContent-Type: application/x-ndjson\r\nContent-Length: 1000\r\n\r\n'
  for _ in 1 2 3; do printf '{"w":'; sleep 0.5; done; } |
  openssl s_client -quiet -CAfile "$stele_dir/keys/ca.pem" -connect "localhost:$(port_of https-json)" >/dev/null 2>&1 &
ask /v1/events "${a[@]}" "${ndjson[@]}" "@$work/one" >/dev/null; status_is 'an honest sender beside a slow one' 200
wait $! || true

alive
verify_says "$good_words"
succeeds 'stele up stops cleanly' stop_stele
verify_says "$good_words" "$work/s"
finish_test
