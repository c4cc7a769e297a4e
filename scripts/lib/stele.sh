# A Stele of one's own in a directory: started on free ports, asked, stopped. Source after common.sh and processes.sh.
# Expects $stele_bin: the folder of the built programs (build/<preset>/bin). Sets $stele_dir and $stele_pid.

stele_dir=''
stele_pid=''

# start_stele DIR [SECONDS]: `stele up` in DIR. If DIR has no stele.toml, one with free ports is written.
start_stele() {
  local end=$((SECONDS + ${2:-60}))
  stele_dir=$1
  mkdir -p -m 0700 "$stele_dir"
  [ -f "$stele_dir/stele.toml" ] || stele_toml >"$stele_dir/stele.toml"
  rm -f "$stele_dir/run/ready.json"
  "$stele_bin/stele" up --dir "$stele_dir" >>"$stele_dir/up.log" 2>&1 &
  stele_pid=$!
  until [ -s "$stele_dir/run/ready.json" ]; do
    if ! kill -0 "$stele_pid" 2>/dev/null; then
      tail -n 20 "$stele_dir/up.log" >&2
      warn "stele up ended before it was ready (its words are above)"
      return 1
    fi
    if [ "$SECONDS" -ge "$end" ]; then
      tail -n 20 "$stele_dir/up.log" >&2
      warn "stele up was not ready in time"
      return 1
    fi
    sleep 0.05
  done
}

# A configuration with free ports everywhere; further lines of [ingest] from $stele_ingest_toml, of others from $stele_more_toml.
stele_toml() {
  cat <<'TOML'
[ingest]
syslog_udp_port = 0
syslog_tcp_port = 0
https_json_port = 0
syslog_tls_port = 0
json_lines_tls_port = 0
relp_port = 0
TOML
  printf '%s\n' "${stele_ingest_toml:-}" '[viewer]' 'port = 0'
  printf '%s\n' "${stele_more_toml:-}"
}

# port_of NAME: the bound port of a listener (syslog-udp, syslog-tcp, syslog-tls, json-lines-tls, relp, relp-tls, https-json) or of the viewer, from
# run/ready.json; where zones are listed, of the first zone that has it.
port_of() { jq -er --arg name "$1" '.ports[$name] // first(.zones[].ports[$name] | values)' "$stele_dir/run/ready.json"; }

stele_cli() {  # stele_cli COMMAND [ARGUMENT...]: the command line against this directory
  local command=$1; shift
  "$stele_bin/stele" "$command" --dir "$stele_dir" "$@"
}

# status_json: the status, whatever the verdict in it (the exit status of `stele status` is the verdict's).
status_json() { stele_cli status --json 2>/dev/null || true; }

# stored_by NAME: how many records the listener of that name has stored, as status says (renewed once a second). 0 when nothing
# answers.
stored_by() {
  local stored
  stored=$(status_json | jq -r --arg name "$1" '[.listeners[] | select(.name == $name) | .stored] | add // 0' 2>/dev/null) || true
  echo "${stored:-0}"
}

# committed: how many entries of any kind are durable. 0 when nothing answers.
committed() {
  local size
  size=$(status_json | jq -r '.committed_size // 0' 2>/dev/null) || true
  echo "${size:-0}"
}

# wait_stored NAME COUNT [SECONDS]: until the listener has stored at least COUNT records.
wait_stored() {
  local end=$((SECONDS + ${3:-60})) stored=0
  while :; do
    stored=$(stored_by "$1")
    [ "$stored" -ge "$2" ] && return 0
    if [ "$SECONDS" -ge "$end" ]; then
      warn "$1 stored $stored of $2 in time"
      return 1
    fi
    sleep 0.1
  done
}

# wait_checkpointed [SECONDS]: until the newest checkpoint covers everything that was committed at the time of the call.
wait_checkpointed() {
  local end=$((SECONDS + ${1:-30})) target size
  target=$(status_json | jq -r '.committed_size // 0')
  while :; do
    size=$(status_json | jq -r '.checkpoint.size // 0')
    [ "${size:-0}" -ge "${target:-0}" ] && return 0
    if [ "$SECONDS" -ge "$end" ]; then
      warn "the checkpoint covers $size of $target in time"
      return 1
    fi
    sleep 0.1
  done
}

# wait_cosigned [SECONDS]: until a checkpoint with its quorum covers everything that was committed at the time of the call. (Asking is an
# entry too, so the log grows meanwhile.)
wait_cosigned() {
  local end=$((SECONDS + ${1:-40})) target size
  target=$(committed)
  while :; do
    size=$(status_json | jq -r '.witnesses.quorum.size // 0')
    [ "${size:-0}" -ge "$target" ] && return 0
    if [ "$SECONDS" -ge "$end" ]; then
      warn "the witnesses have cosigned $size of $target in time"
      return 1
    fi
    sleep 0.2
  done
}

# post_events FILE [CURL_ARGUMENT...]: newline-delimited JSON over HTTPS; prints the answer, fails on any status but 200.
post_events() {
  local file=$1; shift
  curl -sS --fail --max-time 30 --cacert "$stele_dir/keys/ca.pem" -H 'Content-Type: application/x-ndjson' \
    --data-binary "@$file" "$@" "https://localhost:$(port_of https-json)/v1/events"
}

stop_stele() {  # clean stop; says so when it was not
  [ -n "$stele_pid" ] || return 0
  local pid=$stele_pid end=$((SECONDS + 40)) status=0
  stele_pid=''
  kill -TERM "$pid" 2>/dev/null || { wait "$pid" 2>/dev/null || true; return 0; }
  while kill -0 "$pid" 2>/dev/null && [ "$SECONDS" -lt "$end" ]; do sleep 0.05; done
  if kill -0 "$pid" 2>/dev/null; then
    warn "stele up did not stop in 40 s; killed"
    kill -KILL "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
    return 1
  fi
  wait "$pid" || status=$?
  return "$status"
}

# power_off: everything of the family ends at once, the software TPM too, as when the power goes.
power_off() {
  local pids
  mapfile -t pids < <(process_tree "$stele_pid")
  kill -KILL "${pids[@]}" 2>/dev/null || true
  wait "$stele_pid" 2>/dev/null || true
  stele_pid=''
}
