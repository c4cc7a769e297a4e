# An appliance in a virtual machine, as people and devices see it. Source after machine.sh; expects $stele_bin.

# new_appliance DIR IMAGE [MAKE_DISK_ARGUMENT...]: a machine that never ran; its first start gets the keys of a first run, so that we have them too,
# and the files of the folder $site_more, if that is set.
new_appliance() {
  local dir=$1 image=$2 state at target made=1 disk="$1.disk" log="$1.first-run.log"
  shift 2
  state=$(mktemp -d)
  mkdir -p "$(dirname "$dir")"
  "$stele_bin/stele" provision --dir "$state/made" >"$log" 2>&1 || { tail -n 5 "$log" >&2; die "no keys could be made"; }
  mkdir -p -m 0700 "$state/new/keys"
  cp -r "$image/state/." "$state/new/"
  [ -z "${site_more:-}" ] || cp -r "$site_more/." "$state/new/"
  cp "$state"/made/keys/{ca,auditor,security-officer,metrics}.* "$state/new/keys/"
  target=$disk
  if [ -n "${disk_by_device:-}" ]; then  # one that was used before
    truncate -s 3100M "$disk"
    for at in 0 2440; do dd if=/dev/urandom of="$disk" bs=1M seek=$at count=64 conv=notrunc status=none; done  # also where log partitions will be
    target=$(losetup -f --show "$disk")
  fi
  "$root/image/disk/make-disk" --uki "$image/stele.efi" --root "$image/root.erofs" --tree "$image/root.tree" --state "$state/new" "$@" -o "$target" 2>>"$log" || made=0
  [ "$target" = "$disk" ] || losetup -d "$target"
  [ "$made" = 1 ] || { tail -n 5 "$log" >&2; die "no disk could be made"; }
  make_machine "$dir" "$disk" "$image/vars.fd"
  cp -r "$state/new/keys" "$dir/keys"
  rm -rf "$state" "$disk" "$log"
}

# forward_ports SYSLOG RELP TLS JSON VIEWER: ports of loopback that lead to the appliance. Two more lead where nothing may answer: the viewer by the
# ingest network, JSON by the operators' network.
forward_ports() {
  syslog_port=$1 relp_port=$2 tls_port=$3 json_port=$4 viewer_port=$5
  wrong_viewer_port=$(free_port) wrong_viewer_port_2=$(free_port) wrong_json_port=$(free_port)
  machine_forward_ingest=",hostfwd=tcp:127.0.0.1:$1-10.0.2.15:514,hostfwd=udp:127.0.0.1:$1-10.0.2.15:514,hostfwd=tcp:127.0.0.1:$2-10.0.2.15:2514"
  machine_forward_ingest+=",hostfwd=tcp:127.0.0.1:$3-10.0.2.15:6514,hostfwd=tcp:127.0.0.1:$4-10.0.2.15:8443"
  machine_forward_ingest+=",hostfwd=tcp:127.0.0.1:$wrong_viewer_port-10.0.2.15:9443,hostfwd=tcp:127.0.0.1:$wrong_viewer_port_2-10.0.3.15:9443"
  machine_forward_operator=",hostfwd=tcp:127.0.0.1:$5-10.0.3.15:9443,hostfwd=tcp:127.0.0.1:$wrong_json_port-10.0.3.15:8443"
}
forward_free_ports() { forward_ports "$(free_port)" "$(free_port)" "$(free_port)" "$(free_port)" "$(free_port)"; }

# api PATH [CURL_ARGUMENT...]: the read API, as the auditor.
api() {
  local path=$1 keys="$machine_dir/keys"; shift
  curl -sS --fail --max-time 100 --cacert "$keys/ca.pem" --cert "$keys/auditor.pem" --key "$keys/auditor.key" "$@" "https://localhost:$viewer_port$path"
}

# wait_api JQ_CONDITION SECONDS: until the status fulfils it. The last status is in $machine_dir/status.json.
wait_api() {
  local end=$((SECONDS + $2))
  until api /api/v1/status >"$machine_dir/status.json" 2>"$machine_dir/curl.log" && jq -e "$1" "$machine_dir/status.json" >/dev/null; do
    if ! machine_runs || [ "$SECONDS" -ge "$end" ]; then
      warn "the status never said $1: $(jq -c '{verdict, anchor: .anchor.state, committed_size}' "$machine_dir/status.json" 2>/dev/null || cat "$machine_dir/curl.log")"
      return 1
    fi
    sleep 1
  done
}

# answers HOST_PORT: whether TLS or anything else comes back behind a forwarded port. (The emulator itself accepts the connection.)
answers() { curl -sk --max-time 6 "https://localhost:$1/" >/dev/null 2>&1; }

# registers_are_expected FILE: PCR values on the console are those of expected-pcrs.json.
registers_are_expected() {
  local register wanted compared=0
  while read -r register wanted; do
    [ "$(console_value "pcr-$register" | tr A-F a-f)" = "$wanted" ] || { warn "PCR $register is $(console_value "pcr-$register"), not $wanted"; return 1; }
    compared=$((compared + 1))
  done < <(jq -r '.registers | to_entries[] | "\(.key) \(.value)"' "$1")
  [ "$compared" -ge 4 ]
}

boot_seconds=900  # generous: an emulated processor on a busy machine

start_appliance() {  # start_appliance [LOG]: until every process serves
  local begin=$SECONDS
  start_machine "${1:-console.log}"
  wait_console 'stele: serving' "$boot_seconds" || { tr -d '\r' <"$machine_console" | tail -n 25 >&2; warn "the appliance does not serve"; return 1; }
  say "serving after $((SECONDS - begin)) s"
}

# The machine's disk while it is off.

# text_on PARTITION OFFSET: the 8 bytes there; a negative offset counts from the end.
text_on() {
  local at size
  read -r at size < <(place_of "$1")
  [ "$2" -ge 0 ] && at=$((at + $2)) || at=$((at + size + $2))
  dd if="$machine_dir/disk.img" bs=8 iflag=skip_bytes skip="$at" count=1 status=none | tr -d '\0'
}

# verify_partitions: `stele verify` of all log partitions, into $machine_dir/verify.json. Who signed the log is not asked: that lies in the state
# partition. Fails where no loop device can be had.
verify_partitions() {
  local loops=() name at size
  for name in $(sfdisk -J "$machine_dir/disk.img" | jq -r '.partitiontable.partitions[].name | select(startswith("stele-log-"))'); do
    read -r at size < <(place_of "$name")
    loops+=("$(losetup --find --show --read-only --offset "$at" --sizelimit "$size" "$machine_dir/disk.img")") || { losetup -d "${loops[@]}"; return 1; }
  done
  "$stele_bin/stele" verify --json --dir "$machine_dir/nobody" --device "${loops[@]}" >"$machine_dir/verify.json" 2>"$machine_dir/verify.log" || true
  losetup -d "${loops[@]}"
}
bytes_are_whole() { jq -e '.word == "CANNOT_TELL" and (.detail | startswith("the bytes are whole"))' "$machine_dir/verify.json" >/dev/null; }
