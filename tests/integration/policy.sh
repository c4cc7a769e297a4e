#!/usr/bin/env bash
# Goal: what gets through is what the policy's matrix says, packet by packet, also while the policy changes; and what is wrong with a policy
# is said before it is applied. Method: wrong files for the command line; then a site in network namespaces (policy_site.py). Needs root.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
[ "$(id -u)" = 0 ] || skip 'network namespaces need root'
for tool in ip nft python3; do command -v "$tool" >/dev/null || skip "$tool is not installed"; done
unshare --net true 2>/dev/null || skip 'no network namespace can be made here'
unshare --net nft add table inet probe 2>/dev/null || skip 'this kernel has no nf_tables'
[ -x "$stele_bin/stele-test-nft" ] || skip "$stele_bin/stele-test-nft is not built"
begin_test
stele="$stele_bin/stele"

cat >"$work/plant.toml" <<'TOML'
[viewer]
address = "203.0.113.5"
[[zones]]
name = "machines"
interface = "eth1"
address = "10.20.0.1"
allowed_sources = ["10.20.0.0/16"]
syslog_udp_port = 514
[[zones]]
name = "operator"
interface = "eth0"
allowed_sources = ["203.0.113.0/27"]
[[zones]]
name = "witness"
interface = "eth3"
address = "192.0.2.2"
[[zones.flows]]
name = "first"
to = "192.0.2.80"
tcp_ports = [443]
TOML
plant="$work/plant.toml"

succeeds 'a good policy is good' "$stele" policy check "$plant"
grep -q '^machines  *eth1  *10.20.0.0/16  *->  *10.20.0.1  *udp/514  *syslog-udp  *stele-receive@machines$' "$work/out" ||
  { cat "$work/out"; fail 'the matrix does not name the machines'; }
grep -q '^witness  *eth3  *192.0.2.80  *<-  *-  *tcp/443  *first  *stele-courier$' "$work/out" || fail 'the matrix does not name the flow'
succeeds 'as JSON' "$stele" policy check --json "$plant"
same 'its rows' 5 "$(jq '.reach | length' "$work/out")"
same 'it is good' true "$(jq .ok "$work/out")"

# changed SED: the plant with one change.
changed() { sed "$1" "$plant" >"$work/changed.toml"; }
# refused WHAT STATUS TEXT [OPTION...]: what stele policy check says of the changed plant.
refused() {
  local what=$1 status=$2 text=$3; shift 3
  exits_with "$what" "$status" "$stele" policy check "$@" "$work/changed.toml"
  grep -qF -- "$text" "$work/out" || { cat "$work/out"; fail "$what: not said: $text"; }
}
changed 's/203.0.113.0\/27/10.20.8.0\/24/'
refused 'sources that overlap are refused with their line' 2 'changed.toml:9: zone operator: 10.20.8.0/24 is within 10.20.0.0/16 of zone machines'
changed 's/syslog_udp_port = 514/syslog_udp_port = 0/'
refused 'a port that nobody knows is refused' 2 'zone machines: syslog-udp has port 0'
changed 's/tcp_ports/ports/'
refused 'an unknown key is refused' 2 'changed.toml:17: zones.flows number 1: unknown key ports'
changed 's/"witness"/"operator"/'
refused 'a zone that is there twice is refused' 2 'zones.name "operator" is given twice'
changed 's/"eth1"/"lo"/'
refused 'the loopback is no zone' 2 'zone machines: the loopback is no zone'
changed '/interface/d'
refused 'without an interface there is no policy' 2 'no zone names an interface'
changed 's/address = "203.0.113.5"/address = "203.0.113.5"\nport = 0/'
refused 'the port of the viewer must be known' 2 'zone operator: viewer has port 0'
changed 's/x/x/'
refused 'an interface that is not there is refused' 2 'zone witness: there is no interface eth3' --interfaces lo,eth0,eth1
refused 'an operator who would be left outside: refused' 1 '198.51.100.7 would reach nothing' --from 198.51.100.7
refused 'and not when forced' 0 '198.51.100.7 would reach nothing' --from 198.51.100.7 --force
refused 'an operator who gets in' 0 'stele-web' --from 203.0.113.7
changed 's/allowed_sources = \["203.0.113.0\/27"\]//'
refused 'a policy that leaves everybody outside: refused' 1 'nobody would reach the viewer'
exits_with 'a file that is not there' 3 "$stele" policy check "$work/nowhere.toml"

changed 's/10.20.0.0\/16/10.20.0.0\/17/; s/tcp_ports = \[443\]/tcp_ports = [443, 8443]/'
succeeds 'a change is put in words' "$stele" policy diff "$plant" "$work/changed.toml"
cat >"$work/expected" <<'TEXT'
closes  10.20.128.0/17 on eth1 (zone machines) -> 10.20.0.1 udp/514 (syslog-udp, stele-receive@machines)
closes  10.20.128.0/17 on eth1 (zone machines) -> 10.20.0.1 echo requests
opens   stele-courier -> 192.0.2.80 on eth3 (zone witness) tcp/8443 (first)
TEXT
same 'the words' "$(cat "$work/expected")" "$(cat "$work/out")"
succeeds 'no change is none' "$stele" policy diff "$plant" "$plant"
same 'and said so' 'nothing opens and nothing closes' "$(cat "$work/out")"

# From every golden ruleset to every other, in a namespace of its own: what the kernel then has is what was meant.
golden="$root/tests/golden"
cat >"$work/turns.sh" <<SH
set -e
for name in plant every_kind smallest plant smallest every_kind plant; do
  "$stele_bin/stele-test-nft" apply "$golden/policy_\$name.nft"
  "$stele_bin/stele-test-nft" differs "$golden/policy_\$name.nft"
done
nft add element inet stele zones4 '{ "eth9" . 198.18.0.0/15 : 1 }'
! "$stele_bin/stele-test-nft" differs "$golden/policy_plant.nft" | grep -v '^set zones4: "eth9" . 198.18.0.0/15 : 0x00000001 is new\$'
SH
succeeds 'each ruleset becomes each other one, and what is added by hand is seen' unshare --net bash "$work/turns.sh"
if nobody=$(id -u nobody 2>/dev/null); then
  exits_with 'without the privilege nothing is applied' 1 setpriv --reuid="$nobody" --clear-groups "$stele_bin/stele-test-nft" apply /dev/null
  grep -q 'CAP_NET_ADMIN' "$work/out" || fail "it is not said why: $(cat "$work/out")"
fi

python3 "$here/policy_site.py" "$stele_bin" "$work" || fail 'the miniature site'
finish_test
