# Goal: what was acknowledged survives a power cut. Method: RELP under load, the emulator killed at some moment, started again; every message whose
# answer came must be found, and the verdict must be one of a crash or better, never of tampering.
new_appliance "$root/build/image/tests/cuts" "$image"
forward_free_ports
trap power_cut EXIT
start_appliance console.0.log || exit 1
wait_api '.anchor.state == "anchored"' 200 || exit 1
for cut in $(seq "$cuts"); do
  tag="cut-$cut-$RANDOM" acknowledged="$machine_dir/acknowledged.$cut"
  : >"$acknowledged"
  "$stele_bin/stele-bench-send" --relp "127.0.0.1:$relp_port" --count 100000 --rate 300 --window 16 --tag "$tag" --acknowledged "$acknowledged" \
    >"$machine_dir/send.$cut.log" 2>&1 &
  sender=$!
  sleep $((4 + RANDOM % 6)).$((RANDOM % 10))  # the moment of the cut is what is random here; the sender writes its list when it ends
  power_cut
  wait "$sender" 2>/dev/null || true
  sort -nu "$acknowledged" >"$acknowledged.sorted"
  [ -s "$acknowledged.sorted" ] || { warn "nothing was acknowledged before cut $cut: $(tail -n 1 "$machine_dir/send.$cut.log")"; exit 1; }
  say "  cut $cut after $(wc -l <"$acknowledged.sorted") acknowledged messages"
  start_appliance "console.$cut.log" || exit 1
  wait_api '.anchor.state == "anchored"' 600 || exit 1
  before='' : >"$machine_dir/found.$cut"
  while :; do
    api "/api/v1/search?q=$tag&limit=1000&proofs=0${before:+&before=$before}" >"$machine_dir/page.json" || exit 1
    jq -r '.rows[].payload_b64 | @base64d' "$machine_dir/page.json" | grep -ao 'n="[0-9]*"' | tr -dc '0-9\n' >>"$machine_dir/found.$cut"
    before=$(jq -r '.next_before // empty' "$machine_dir/page.json")
    [ -n "$before" ] || break
  done
  sort -nu "$machine_dir/found.$cut" -o "$machine_dir/found.$cut"
  lost=$(comm -23 <(sort "$acknowledged.sorted") <(sort "$machine_dir/found.$cut") | wc -l)
  word=$(jq -r '.verdict.word // .verdict' "$machine_dir/status.json")
  say "  start $cut: $(wc -l <"$machine_dir/found.$cut") found, $lost acknowledged messages lost, verdict $word"
  [ "$lost" = 0 ] || exit 1
  alarms=$(api '/api/v1/search?q=kind:alarm+%22boots+without%22&limit=10&proofs=0' | jq '.rows | length')
  [ "$alarms" = 0 ] || { warn "an alarm tells of boots that were not"; exit 1; }
  case "$word" in OK|OK_UNANCHORED_TAIL|RECOVERED_CRASH) ;; *) warn "the verdict is wrong"; exit 1 ;; esac
done
exit 0
