#!/usr/bin/env bash
# Goal: no input ends a process, blocks an honest sender or vanishes silently.
# Method: each kind of broken input over the real sockets; afterwards the same processes still serve.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
begin_test
start_stele "$work/s"
udp=$(port_of syslog-udp) tcp=$(port_of syslog-tcp) https=$(port_of https-json)
to_tcp() { cat >"/dev/tcp/127.0.0.1/$tcp" 2>/dev/null || true; }
raw_of_first() { stele_cli show "$(jq -r '.rows[0].seq' "$work/found.json")" --raw; }

# 1. Malformed: random bytes on every way in, and lines that fit no standard.
for i in 1 2 3 4; do head -c 65536 /dev/urandom | to_tcp; head -c 1000 /dev/urandom >"/dev/udp/127.0.0.1/$udp"; done
head -c 65536 /dev/urandom | { cat >"/dev/tcp/127.0.0.1/$https"; } 2>/dev/null || true
printf '<999>nonsense bad-priority\nno header at all bad-header\n<13\nbad-unclosed <<<\n' | to_tcp
found bad-priority 1
found bad-header 1
found bad-unclosed 1
pass 'malformed lines are kept'

# 2. Half a frame, then the end of the connection: what came is kept.
printf '500 <13>1 2026-11-21T06:00:00Z h a 1 - - half-a-frame' | to_tcp
found half-a-frame 1

# 3. A counted length of a gigabyte: an error of framing, no memory for it, what was read is kept.
receiver=$(pid_of stele-receive)
before=$(awk '/^VmHWM/ { print $2 }' "/proc/$receiver/status")
printf '1073741824 <13>1 2026-11-21T06:00:00Z h a 1 - - gigabyte-count' | to_tcp
found gigabyte-count 1
after=$(awk '/^VmHWM/ { print $2 }' "/proc/$receiver/status")
[ $((after - before)) -lt 65536 ] || fail "the receiver grew by $((after - before)) KiB"
pass 'the count of a gigabyte cost no memory'
printf '99999999999999999999 <13>1 2026-11-21T06:00:00Z h a 1 - - twenty-digits' | to_tcp
found twenty-digits 1

# 4. Bytes that are no UTF-8, and NUL: kept as they came.
printf '<13>1 2026-11-21T06:00:00Z h a 1 - - latin-one \xe9\xff\xc3 end' >"$work/latin"
{ printf '%d ' "$(stat -c %s "$work/latin")"; cat "$work/latin"; } | to_tcp
found latin-one 1
raw_of_first >"$work/raw"; cmp "$work/latin" "$work/raw" || fail 'Latin-1 bytes were changed'
printf '<13>1 2026-11-21T06:00:00Z h a 1 - - nul-inside \0\0 end' >"$work/nul"
{ printf '%d ' "$(stat -c %s "$work/nul")"; cat "$work/nul"; } | to_tcp
found nul-inside 1
raw_of_first >"$work/raw"; cmp "$work/nul" "$work/raw" || fail 'NUL bytes were changed'
pass 'invalid UTF-8 and NUL come back byte for byte'

# 5. Lines that are not JSON: stored, and named in the answer.
printf '{"ok":1,"w":"json-good"}\nthis is json-not\n{"open":"json-cut\n' >"$work/events"
post_events "$work/events" >"$work/answer"
same 'the answer names the lines that are not JSON' '[2,3]' "$(jq -c .unparsed "$work/answer")"
found json-good 1; found json-not 1; found json-cut 1

# 6. A line of 2 MiB: kept up to the limit, flagged, and its true length is a record.
{ printf '<13>1 2026-11-21T06:00:00Z h a 1 - - two-mebibytes '; head -c 2097152 /dev/zero | tr '\0' x; printf '\n'; } | to_tcp
found two-mebibytes 1
same 'flagged as truncated' truncated "$(jq -r '.rows[0].flags[] | select(. == "truncated")' "$work/found.json")"
same 'kept up to the limit of 1 MiB' 1048576 "$(jq -r '.rows[0].size' "$work/found.json")"
end=$((SECONDS + 10))
until [ "$(search 'kind:loss' | jq -r '.rows[].payload_b64' | while read -r p; do base64 -d <<<"$p"; echo; done | grep -c oversize)" -ge 1 ]; do
  [ "$SECONDS" -lt "$end" ] || fail 'no loss entry for the oversize line'
  sleep 0.2
done
pass 'a loss entry says oversize'

# 7. A thousand silent connections: an honest sender is not held up.
ulimit -n 8192 2>/dev/null || true
for last in 2 3 4 5; do
  "$send" --tcp "127.0.0.1:$tcp" --from "127.0.0.$last" --connections 250 --count 0 --hold 8000 >/dev/null & silent+=($!)
done
sleep 1.5
"$send" --tcp "127.0.0.1:$tcp" --from 127.0.0.9 --count 2000 --tag honest-one >/dev/null
started=$SECONDS
found 'honest-one' 1000 6
pass "an honest sender was served beside 1000 silent connections in $((SECONDS - started)) s"
post_events "$work/events" >/dev/null
pass 'and so was a JSON sender'
wait "${silent[@]}"

# 8. An HTTP request on the syslog port, a syslog line on the HTTPS port.
printf 'GET /wrong-door HTTP/1.1\r\nHost: x\r\n\r\n' | to_tcp
printf '<13>1 - - - - - - plain text to TLS\n' >"/dev/tcp/127.0.0.1/$https" || true

alive
verify_says "$good_words"
succeeds 'stele up stops cleanly' stop_stele
verify_says "$good_words" "$work/s"
finish_test
