#!/usr/bin/env bash
# Goal: whatever real devices sent comes back byte for byte.
# Method: every file of octet-counted frames in the corpus goes in over TCP, over TLS and once more over UDP; the payloads are
# read back in order, framed again, and compared with the file; JSON over HTTPS and as lines over TLS. The corpus is not part of
# this project.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
corpus=${STELE_CORPUS:-$root/../shared/corpus}
[ -d "$corpus/wire" ] || skip "no corpus of device logs (set STELE_CORPUS to a folder with wire/*.oct)"
begin_test
start_stele "$work/s"

# frames_of KIND FIRST_AFTER: every payload of this kind above a sequence number, in order, octet-counted, to stdout.
frames_of() {
  local kind=$1 above=$2 before='' more=1 page="$work/page.json"
  : >"$work/rows"
  while [ "$more" = 1 ]; do
    stele_cli search --json --limit 1000 ${before:+--before "$before"} "kind:$kind" >"$page" 2>/dev/null
    jq -r --argjson above "$above" '.rows[] | select(.seq > $above) | [.seq, ("\(.size) " | @base64), .payload_b64, .payload_whole] | @tsv' \
      "$page" >>"$work/rows"
    before=$(jq -r '.next_before // empty' "$page")
    [ -n "$before" ] && [ "$before" -gt "$above" ] || more=0
  done
  sort -n "$work/rows" | while IFS=$'\t' read -r seq length payload whole; do
    printf '%s\n' "$length"
    if [ "$whole" = true ]; then printf '%s\n' "$payload"; else stele_cli show "$seq" --raw | base64 -w 0; echo; fi
  done | base64 -d  # one stream: a decoder begins anew after each padded piece
}
newest() { status_json | jq -r .committed_size; }

for file in "$corpus"/wire/*.oct; do
  name=$(basename "$file")
  for way in tcp tls udp; do
    wait_checkpointed
    above=$(($(newest) - 1)) before=$(stored_by "syslog-$way")
    if [ "$way" = tls ]; then  # as many as over TCP before
      tls_client syslog-tls -no_ign_eof <"$file" >/dev/null 2>"$work/s_client.err"
    else
      if [ "$way" = tcp ]; then rate=0; else rate=2000; fi
      "$send" "--$way" "127.0.0.1:$(port_of "syslog-$way")" --frames "$file" --rate "$rate" >"$work/sent"
      count=$(jq .sent "$work/sent")
    fi
    wait_stored "syslog-$way" $((before + count)) 60 || fail "$name over $way: not everything was stored"
    wait_checkpointed
    frames_of syslog "$above" >"$work/back"
    cmp "$file" "$work/back" || fail "$name over $way came back changed"
    pass "$name over $way: $count messages came back byte for byte"
  done
done

for file in "$corpus"/json/*.ndjson; do
  wait_checkpointed
  above=$(($(newest) - 1))
  post_events "$file" >"$work/answer" || fail "$(basename "$file") was refused"
  wait_checkpointed
  frames_of json "$above" >"$work/back"
  LC_ALL=C awk 'length($0) { printf "%d %s", length($0), $0 }' "$file" >"$work/sent.frames"
  cmp "$work/sent.frames" "$work/back" || fail "$(basename "$file") came back changed"
  pass "$(basename "$file"): $(wc -l <"$file") events came back byte for byte"

  above=$(($(newest) - 1)) count=$(LC_ALL=C awk 'length($0)' "$file" | wc -l)
  json_lines "$file" "$count" >"$work/answer" || fail "$(basename "$file") as lines: not all was acknowledged"
  wait_checkpointed
  frames_of json "$above" >"$work/back"
  cmp "$work/sent.frames" "$work/back" || fail "$(basename "$file") as lines came back changed"
  pass "$(basename "$file") as lines over TLS: $count events came back byte for byte"
done
found 'kind:loss' 0
verify_says "$good_words"
finish_test
