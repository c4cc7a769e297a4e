# Goal: a site says what its appliance is, by files: name, networks, zones, time servers; whoever has the recovery key can change it later, nobody
# else; and the clock is right before the log begins. Method: one machine whose clock is three hours fast, a time server with NTS on this machine, three
# starts: the first with all of it in the seed, the second with another site and a wrong recovery key, the third with the right one.
bad=0
expect() { if "${@:2}"; then say "  $1"; else warn "NOT: $1"; bad=1; fi; }
dir="$root/build/image/tests/site"
rm -rf "$dir" "$dir.time"; mkdir -p "$dir.time"

# chrony as the image has it, as a server that touches no clock
packages="$root/build/image/cache/packages"
ntp_port=$(free_port) ke_port=$(free_port) time_pid=''
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$dir.time/key.pem" -out "$dir.time/trusted.pem" -days 10 -subj /CN=time \
  -addext subjectAltName=IP:10.0.3.2 2>/dev/null
cat >"$dir.time/chrony.conf" <<CONF
local stratum 3
port $ntp_port
bindaddress 127.0.0.1
allow 127.0.0.1
ntsport $ke_port
ntsserverkey $dir.time/key.pem
ntsservercert $dir.time/trusted.pem
cmdport 0
bindcmdaddress /
pidfile $dir.time/chronyd.pid
CONF
LD_LIBRARY_PATH="$packages/usr/lib/x86_64-linux-gnu" "$packages/usr/sbin/chronyd" -x -d -u root -f "$dir.time/chrony.conf" >"$dir.time/server.log" 2>&1 & time_pid=$!
end_of_site() { power_cut; stop_process "$time_pid" 5; }
trap end_of_site EXIT

# write_site FOLDER NAME ADDRESS: the site, with its ingest network at ADDRESS
write_site() {
  mkdir -p "$1/network" "$1/time"
  echo "$2" >"$1/hostname"
  sed "s/10\.0\.2\.15/$3/" "$root/image/site/stele.toml" >"$1/stele.toml"
  sed -i 's|10\.0\.3\.0/24|10.0.3.0/25|' "$1/stele.toml"
  cat >>"$1/stele.toml" <<TOML

[[zones]]
name = "management"
interface = "operator0"
address = "10.0.3.15"
allowed_sources = ["10.0.3.128/25"]
[[zones.flows]]
name = "time"
to = "10.0.3.2"
tcp_ports = [$ke_port]
udp_ports = [$ntp_port]
TOML
  sed "s/10\.0\.2\.15/$3/" "$root/image/root/overlay/usr/lib/systemd/network/20-ingest.network" >"$1/network/20-ingest.network"
  echo "server 10.0.3.2 port $ntp_port iburst nts ntsport $ke_port" >"$1/time/site.sources"
  cp "$dir.time/trusted.pem" "$1/time/"
}
said() { tr -d '\r' <"$machine_console" | grep -aE "$1" | head -n 1; }
received() { api "/api/v1/search?q=$1&limit=1&proofs=0" | jq -r '.rows[0].time // empty'; }
wait_received() { local end=$((SECONDS + 90)); until [ -n "$(received "$1" 2>/dev/null)" ]; do [ "$SECONDS" -lt "$end" ] || return 1; sleep 1; done; }
is_near() { local off=$(($(date -u -d "$1" +%s) - $2)); [ "${off#-}" -le 15 ]; }

write_site "$dir.first" north 10.0.2.15
site_more=$dir.first new_appliance "$dir" "$image"
forward_free_ports
machine_restrict_operator=off
machine_more=(-rtc "base=$(date -u -d '+3 hours' +%Y-%m-%dT%H:%M:%S)")
start_appliance console.1.log || exit 1
expect "the clock was set before the log began: $(said 'chronyd.*clock (was|wrong)' | sed 's/.*chronyd/chronyd/' | cut -c1-90)" [ -n "$(said 'System clock (wrong|was stepped) by -1[01][0-9]{3}')" ]
expect 'it has its name' [ "$(console_value name)" = north ]
wait_api '.policy.state == "in_force"' 120 || bad=1
first_policy=$(jq '.policy.entry // 0' "$machine_dir/status.json")
sent=$(date +%s)
logger -n 127.0.0.1 -P "$syslog_port" -T --octet-count site-suite-first
expect 'a record is kept' wait_received site-suite-first
expect "and was received when it was sent: $(received site-suite-first)" is_near "$(received site-suite-first)" "$sent"
recovery_key=$(tr -d '\r' <"$machine_console" | sed -nE 's/.*RECOVERY KEY .*: ([0-9a-f-]{39})$/\1/p')
power_off_machine 300 || warn 'it did not switch off in time'

write_site "$dir.second" south 10.0.2.16
"$root/image/disk/make-site" "$dir.second" --recovery-key 0000-0000-0000-0000-0000-0000-0000-0000 -o "$dir/site.img"
before=$(sha256sum <"$dir/site.img")
machine_more+=(-drive "if=none,id=site,format=raw,file=$dir/site.img" -device nvme,serial=site0,drive=site)
start_appliance console.2.log || exit 1
expect "with a wrong recovery key the site stays as it is: $(console_value state)" eval 'console_value state | grep -q "NOT taken: try the recovery key" && [ "$(console_value name)" = north ]'
expect 'and what was brought is left as it was' [ "$(sha256sum <"$dir/site.img")" = "$before" ]
power_off_machine 300 || warn 'it did not switch off in time'

"$root/image/disk/make-site" "$dir.second" --recovery-key "$recovery_key" -o "$dir/site.img"
machine_forward_ingest=${machine_forward_ingest//10.0.2.15/10.0.2.16}
start_appliance console.3.log || exit 1
expect "with the right one the files are taken: $(console_value state)" eval 'console_value state | grep -q "files of the site taken: 5"'
expect 'its name has changed' [ "$(console_value name)" = south ]
expect 'and its address' [ "$(console_value 'address ingest0')" = 10.0.2.16 ]
expect 'the partition that brought it is wiped' eval '[ "$(dd if="$dir/site.img" bs=1M skip=1 count=8 status=none | tr -d "\0" | wc -c)" = 0 ]'
logger -n 127.0.0.1 -P "$syslog_port" -T --octet-count site-suite-second
expect 'records are taken at the new address' wait_received site-suite-second
expect 'what was logged before is there' wait_received site-suite-first
expect 'its policy came into force at this start, as a change' wait_api '.policy.state == "in_force" and .policy.configured == "in_force" and .policy.entry > '"$first_policy" 120
drifts=$(api '/api/v1/search?q=kind:alarm+json.alarm:policy_drift&limit=100&proofs=0' | jq '.rows | length')
expect "and not as somebody else's ($drifts alarms of drift)" [ "$drifts" = 0 ]
changes=$(api '/api/v1/search?q=kind:policy&limit=100&proofs=0' | jq -r '.rows[].payload_b64 | @base64d' | grep -ao '"config_sha256":"[0-9a-f]*"' | sort -u | wc -l)
expect "the change is in the log ($changes configurations)" [ "$changes" = 2 ]
power_off_machine 300 || warn 'it did not switch off in time'
exit "$bad"
