#!/usr/bin/env bash
# Goal: the policy in force is the one that the log says, at every moment; nothing changes it unseen, and nothing without the log. Method: a
# real `stele up` in a network namespace of its own, with a peer behind a cable; policies applied and refused, nft by hand, a guard that is
# killed, a ledger that stands still. Needs root.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
[ "$(id -u)" = 0 ] || skip 'network namespaces need root'
for tool in ip nft jq openssl nsenter setpriv; do command -v "$tool" >/dev/null || skip "$tool is not installed"; done
if [ -z "${STELE_IN_NAMESPACE:-}" ]; then
  unshare --net true 2>/dev/null || skip 'no network namespace can be made here'
  unshare --net nft add table inet probe 2>/dev/null || skip 'this kernel has no nf_tables'
  STELE_IN_NAMESPACE=1 exec unshare --net bash "$0"
fi
[ -x "$stele_bin/stele-guard" ] || skip "$stele_bin/stele-guard is not built"
begin_test

# The machine: eth0 to the operators, eth1 to the plant, where a peer is.
ip link set lo up
unshare --net sleep 300 &
peer=$!
until [ "$(readlink "/proc/$peer/ns/net")" != "$(readlink "/proc/$$/ns/net")" ]; do sleep 0.02; done
operators_cable() {
  ip link add eth0 type veth peer name office netns "$peer"
  ip addr add 203.0.113.5/24 dev eth0
  ip link set eth0 up
}
operators_cable
ip link add eth1 type veth peer name far netns "$peer"
ip addr add 10.20.0.1/16 dev eth1
ip link set eth1 up
at_peer() { nsenter -t "$peer" -n "$@"; }
at_peer ip addr add 10.20.0.9/16 dev far
at_peer ip link set far up

policy_toml() {  # policy_toml [LINES OF POLICY]: stele.toml
  cat <<TOML
[viewer]
address = "203.0.113.5"
[policy]
enforce = true
restore = true
$(printf '%b' "${1:-}")
[[zones]]
name = "plant"
interface = "eth1"
address = "10.20.0.1"
allowed_sources = ["10.20.0.0/16"]
syslog_tcp_port = 514
[[zones]]
name = "operator"
interface = "eth0"
allowed_sources = ["203.0.113.0/27"]
TOML
}
mkdir -m 0700 "$work/s"
toml="$work/s/stele.toml"
policy_toml >"$toml"

# What cannot be is said with its line, and nothing starts.
mkdir -m 0700 "$work/wrong"
policy_toml 'approvals = 2' >"$work/wrong/stele.toml"
exits_with 'approvals that nobody could give' 2 "$stele_bin/stele" up --dir "$work/wrong"
grep -q 'stele.toml:3: policy.approvals is 2 and there are 0' "$work/out" || { cat "$work/out"; fail 'the line is not named'; }
policy_toml | sed '/^interface/d' >"$work/wrong/stele.toml"
exits_with 'a policy without interfaces' 2 "$stele_bin/stele" up --dir "$work/wrong"
policy_toml >"$work/wrong/stele.toml"
exits_with 'without the privilege' 3 setpriv --bounding-set=-net_admin --inh-caps=-net_admin "$stele_bin/stele" up --dir "$work/wrong"
grep -q 'CAP_NET_ADMIN' "$work/out" || { cat "$work/out"; fail 'it is not said that the privilege is missing'; }
[ ! -e "$work/wrong/run/ready.json" ] || fail 'it serves'
! nft list table inet stele >/dev/null 2>&1 || fail 'there are rules all the same'
exits_with 'apply without a running Stele' 3 "$stele_bin/stele" policy apply "$toml" --why x --dir "$work/s"

payloads() { search "kind:$1" | jq -c '.rows[] | (.payload_b64 | @base64d | (try fromjson catch {cut: true})) + {seq: .seq}'; }
whole() { stele_cli show "$1" --raw | jq -c --argjson seq "$1" '. + {seq: $seq}'; }  # a search shows the first 2 KiB
events() {
  local row
  payloads policy | while read -r row; do
    case "$row" in *'"cut":true'*) whole "$(jq .seq <<<"$row")" ;; *) printf '%s\n' "$row" ;; esac
  done | jq -c "select(.event == \"$1\")"
}
alarms() { payloads alarm | jq -c "select(.alarm == \"$1\")"; }
# within SECONDS WHAT COMMAND...: until the command says yes.
within() {
  local limit=$1 what=$2 begun end; shift 2
  begun=$(date +%s%N) end=$((begun + limit * 1000000000))
  until "$@"; do
    [ "$(date +%s%N)" -lt "$end" ] || fail "$what: not within $limit s"
    sleep 0.05
  done
  pass "$what, after $((($(date +%s%N) - begun) / 1000000)) ms"
}
count_is() { [ "$("$1" "$2" | wc -l)" = "$3" ]; }
stele() { "$stele_bin/stele" "$1" "$2" --dir "$work/s" "${@:3}"; }
rules_are() {  # rules_are WHAT FILE: the kernel has what this file compiles to
  "$stele_bin/stele" policy check --ruleset "$2" >"$work/meant.nft" 2>/dev/null || fail "$1: $2 is no policy"
  "$stele_bin/stele-test-nft" differs "$work/meant.nft" >"$work/differs" || { cat "$work/differs"; fail "$1"; }
  pass "$1"
}
has_rules() { "$stele_bin/stele" policy check --ruleset "$1" >"$work/meant.nft" 2>/dev/null && "$stele_bin/stele-test-nft" differs "$work/meant.nft" >/dev/null; }

# 1. The first policy: an entry, then rules; the guard has one capability and no more.
start_stele "$work/s"
rules_are 'the first policy is in force when Stele serves' "$toml"
within 5 'it is said to be applied' count_is events policy_applied 1
first=$(events policy_change)
same 'the first change says who' 'stele up' "$(jq -r .who <<<"$first")"
same 'its digest is that of its text' "$(jq -r .digest <<<"$first")" "$(jq -j .policy <<<"$first" | sha256sum | cut -d' ' -f1)"
same 'it replaces nothing' "$(printf '%064d' 0)" "$(jq -r .replaces <<<"$first")"
[ "$(jq .seq <<<"$first")" -lt "$(events policy_applied | jq .seq)" ] || fail 'the rules came before the entry'
guard=$(pid_of stele-guard)
same 'the guard has one capability' '0000000000001000 0000000000001000' "$(awk '/^Cap(Prm|Eff)/ {printf "%s%s", s, $2; s=" "}' "/proc/$guard/status")"
same 'no new privileges, a filter of calls' '1 2' "$(awk '/^(NoNewPrivs|Seccomp):/ {printf "%s%s", s, $2; s=" "}' "/proc/$guard/status")"
same 'its sandbox is whole' '[]' "$(jq -c '.ready["stele-guard"].missing' "$work/s/run/ready.json")"
policy_status() { status_json | jq -er ".policy$1"; }
status_is() { [ "$(policy_status "$1")" = "$2" ]; }
within 5 'the status names the policy' status_is .digest "$(jq -r .digest <<<"$first")"
stele_cli status >"$work/status" || true
grep -q '^network policy: in force since .* by stele up$' "$work/status" || { cat "$work/status"; fail 'stele status does not show it'; }

# 2. A change under an open connection. A record by it before and after; what is closed ends.
at_peer bash -c 'exec 4>/dev/tcp/10.20.0.1/514; printf "<13>1 - h a 1 - - before-change\n" >&4; while [ ! -e "$0" ]; do sleep 0.05; done
  printf "<13>1 - h a 1 - - after-change\n" >&4; sleep 1' "$work/changed" &
sender=$!
found before-change 1
policy_toml | sed 's/^syslog_tcp_port = 514/syslog_tcp_port = 514\nrelp_port = 2514/' >"$work/relp.toml"
succeeds 'a change is applied' stele policy apply "$work/relp.toml" --why 'RELP for the plant'
grep -q '^opens 10.20.0.0/16 on eth1 (zone plant) -> 10.20.0.1 tcp/2514 (relp, stele-receive@plant)$' "$work/out" || { cat "$work/out"; fail 'it is not said what opens'; }
grep -q 'stele.toml are others' "$work/out" || fail 'it is not said that stele.toml is another'
touch "$work/changed"
rules_are 'its rules are in place' "$work/relp.toml"
found after-change 1
wait "$sender"
within 5 'it is said to be applied' count_is events policy_applied 2
change=$(events policy_change | jq -c 'select(.why == "RELP for the plant")')
same 'who it was is the kernel'\''s word' 'root (uid 0)' "$(jq -r .who <<<"$change")"
[ "$(jq .seq <<<"$change")" -lt "$(events policy_applied | jq -s 'max_by(.seq).seq')" ] || fail 'applied before the change'
within 5 'the status has its entry' status_is .entry "$(jq .seq <<<"$change")"
succeeds 'the same again is no change' stele policy apply "$work/relp.toml" --why again
grep -q '^it is in force already' "$work/out" || fail 'the same policy was applied again'

# 3. Refused: nothing changes and nothing is in the log.
sed 's/allowed_sources = \["203.*//' "$work/relp.toml" >"$work/cut.toml"
exits_with 'a policy that leaves the operators outside' 1 stele policy apply "$work/cut.toml" --why x
grep -q 'nobody would reach the viewer' "$work/out" || { cat "$work/out"; fail 'it is not said why'; }
exits_with 'an operator who would be left outside' 1 stele policy apply "$toml" --why x --from 198.51.100.7
exits_with 'the address of the shell' 1 env SSH_CONNECTION='198.51.100.7 50000 203.0.113.5 22' "$stele_bin/stele" policy apply "$toml" --why x --dir "$work/s"
sed 's/"eth0"/"eth7"/' "$work/relp.toml" >"$work/eth7.toml"
exits_with 'an interface that is not there' 1 stele policy apply "$work/eth7.toml" --why x
sed 's/203.0.113.0\/27/10.20.8.0\/24/' "$work/relp.toml" >"$work/overlap.toml"
exits_with 'sources that overlap' 2 stele policy apply "$work/overlap.toml" --why x
grep -q 'overlap.toml:14: ' "$work/out" || { cat "$work/out"; fail 'the line is not named'; }
exits_with 'no reason' 2 stele policy apply "$toml"
exits_with 'an empty reason' 1 stele policy apply "$toml" --why ''
rules_are 'the rules are as before' "$work/relp.toml"
same 'no further entry' 2 "$(events policy_change | wc -l)"

# 4. Drift: found and put back, whoever it was; other tables are named; a loop costs few entries.
nft add element inet stele zones4 '{ "eth1" . 198.18.0.0/15 : 1 }'
within 2 'what nft added by hand is gone' has_rules "$work/relp.toml"
within 2 'and it is an alarm' count_is alarms policy_drift 1
same 'with its program and what differed' '["nft",true]' \
  "$(alarms policy_drift | jq -c '[.program, (.process > 0 and (.differences[0] | contains("198.18.0.0/15")))]')"
within 2 'that it was put back too' count_is alarms policy_restored 1
nft delete table inet stele
within 2 'a table that was deleted is back' has_rules "$work/relp.toml"
nft add table ip strange
within 2 'another table is named' count_is alarms policy_drift 3
same 'by its name' '["table ip strange is not Stele'\''s"]' "$(alarms policy_drift | jq -sc 'max_by(.seq).differences')"
nft delete table ip strange
cpu() { awk '{print $14 + $15}' "/proc/$guard/stat"; }
before=$(cpu) end=$((SECONDS + 3)) loops=0
while [ "$SECONDS" -lt "$end" ]; do nft add chain inet stele mine 2>/dev/null || true; loops=$((loops + 1)); done
within 2 "the rules are right after $loops changes in a loop" has_rules "$work/relp.toml"
used=$(($(cpu) - before))
[ "$used" -lt 200 ] || fail "the guard used $used hundredths of a second"
drifts=$(alarms policy_drift | wc -l)
[ "$drifts" -le 10 ] || fail "the loop made $drifts entries"
counted() { [ "$(policy_status .drift.found)" -ge "$drifts" ]; }
within 5 'none is uncounted' counted
same 'a scraper is told the policy in force' 1 "$(metric "stele_policy_info{digest=\"$(policy_status .digest)\"}" 203.0.113.5)"
[ "$(metric stele_policy_drift_found_total 203.0.113.5)" -ge "$drifts" ] || fail 'a scraper is not told how often the rules were others'
pass "found $(policy_status .drift.found) times, said $drifts times, in $used hundredths of a processor second"

# 5. The interface goes and comes back: the rules go by its name.
ip link del eth0
operators_cable
rules_are 'after an interface came back' "$work/relp.toml"
at_peer bash -c 'exec 4>/dev/tcp/10.20.0.1/514; printf "<13>1 - h a 1 - - still-there\n" >&4; sleep 0.5'
found still-there 1

# 6. A log that cannot be written: nothing is applied, and the log says so when it can.
kill -STOP "$(pid_of stele-ledger)"
exits_with 'a ledger that stands still' 3 stele policy apply "$toml" --why 'nobody writes'
rules_are 'nothing was applied' "$work/relp.toml"
kill -CONT "$(pid_of stele-ledger)"
within 10 'the log says that it failed' count_is events policy_failed 1
grep -q 'nothing was applied' <<<"$(events policy_failed)" || fail 'it does not say why'

# 7. The guard is killed: rules stay; what was changed while nobody watched is found when it is back.
kill -STOP "$stele_pid"
kill -KILL "$guard"
nft add element inet stele zones4 '{ "eth1" . 198.18.0.0/15 : 1 }'
kill -CONT "$stele_pid"
within 5 'the guard is back and the rules too' has_rules "$work/relp.toml"
guard_again() { [ "$(pid_of stele-guard)" != "$guard" ] && [ "$(policy_status .state)" = in_force ]; }
within 5 'another guard' guard_again
nobody_seen() { [ -n "$(alarms policy_drift | jq -c 'select(.program == "" and (.differences[0] | contains("198.18.0.0/15")))')" ]; }
within 5 'and is said to be nobody'\''s' nobody_seen

# 8. The kernel refuses: the table belongs to another process. The change is not in force, and the log says why.
if coproc OWNER { exec nft -i 2>&1; } && printf 'delete table inet stele; add table inet stele { flags owner; }\n' >&"${OWNER[1]}" &&
   sleep 0.5 && nft list table inet stele 2>/dev/null | grep -q owner; then
  exits_with 'a table that the kernel does not give' 1 stele policy apply "$toml" --why 'not now'
  grep -q 'not applied, the old rules stay' "$work/out" || { cat "$work/out"; fail 'it is not said'; }
  kill "$OWNER_PID"
  within 8 'the policy in force is back' has_rules "$work/relp.toml"
  within 5 'the failure is an entry' count_is events policy_failed 2
else
  say 'nft here knows no owner of a table: the refusal by the kernel is not tried'
  [ -z "${OWNER_PID:-}" ] || kill "$OWNER_PID" 2>/dev/null || true
fi

# 9. A stele.toml that was changed by hand is said, and a restart stays with the policy in force. Rules changed while Stele was stopped
#    are put right before anything listens.
for name in alice bob carol; do
  openssl genpkey -algorithm ed25519 -out "$work/$name.pem" 2>/dev/null
  openssl pkey -in "$work/$name.pem" -pubout -out "$work/$name.pub" 2>/dev/null
done
approvers="approvals = 2\n[[policy.approvers]]\nname = \"alice\"\npublic_key = '''$(cat "$work/alice.pub")'''\n[[policy.approvers]]\nname = \"bob\"\npublic_key = '''$(cat "$work/bob.pub")'''\n"
policy_toml "$approvers" | sed 's/10.20.0.0\/16/10.20.0.0\/17/' >"$toml"
kill -HUP "$stele_pid"
by_hand() { [ -n "$(alarms policy_unapplied | jq -c 'select(.diff[0] | contains("closes 10.20.128.0/17"))')" ]; }
within 5 'the change by hand is an alarm' by_hand
rules_are 'and nothing else' "$work/relp.toml"
succeeds 'stele up stops cleanly' stop_stele
nft add element inet stele zones4 '{ "eth1" . 198.18.0.0/15 : 1 }'
start_stele "$work/s"
rules_are 'after a restart the same policy is in force' "$work/relp.toml"
while_stopped() { [ -n "$(alarms policy_drift | jq -c 'select(.text | contains("while the appliance was stopped"))')" ]; }
within 5 'what was changed while it was stopped is said' while_stopped
within 5 'the status says that stele.toml is another' status_is .configured differs

# 10. Two people. Their words are for this change and no other.
approve() { stele policy approve "$2" --key "$work/$1.pem" --name "$1" -o "$work/$1.approval${3:-}" >/dev/null; }
exits_with 'nobody has approved' 1 stele policy apply "$toml" --why two
grep -q 'needs the approval of 2 people, and has that of 0' "$work/out" || { cat "$work/out"; fail 'it is not said how many'; }
approve alice "$toml"; approve bob "$toml"; approve carol "$toml"; approve alice "$toml" .again
exits_with 'one person alone' 1 stele policy apply "$toml" --why two --approval "$work/alice.approval"
exits_with 'the same person twice' 1 stele policy apply "$toml" --why two --approval "$work/alice.approval" --approval "$work/alice.approval.again"
grep -q 'one person counts once' "$work/out" || { cat "$work/out"; fail 'it is not said'; }
exits_with 'a stranger' 1 stele policy apply "$toml" --why two --approval "$work/alice.approval" --approval "$work/carol.approval"
exits_with 'the approval of another policy' 1 stele policy apply "$work/cut.toml" --why two --force --approval "$work/alice.approval" --approval "$work/bob.approval"
rules_are 'nothing was applied' "$work/relp.toml"
# Bob's, made with openssl alone.
head -n 7 "$work/bob.approval" >"$work/statement"
openssl pkeyutl -sign -rawin -inkey "$work/bob.pem" -in "$work/statement" -out "$work/signature"
{ cat "$work/statement"; echo; base64 -w 0 "$work/signature"; echo; } >"$work/bob.openssl"
succeeds 'two people' stele policy apply "$toml" --why two --approval "$work/alice.approval" --approval "$work/bob.openssl"
rules_are 'their policy is in force' "$toml"
change=$(events policy_change | jq -c 'select(.why == "two")')
same 'the entry names them' '["alice","bob"]' "$(jq -c '[.approvals[].name]' <<<"$change")"
stele policy show --json >"$work/shown.json"
for name in alice bob; do
  stele policy approve "$work/relp.toml" --key "$work/$name.pem" --name $name --in-force "$work/shown.json" -o "$work/$name.back" >/dev/null
done
succeeds 'and back' stele policy apply "$work/relp.toml" --why back --approval "$work/alice.back" --approval "$work/bob.back"
exits_with 'the first words again' 1 stele policy apply "$toml" --why replay --approval "$work/alice.approval" --approval "$work/bob.openssl"
grep -q 'another change was in force' "$work/out" || { cat "$work/out"; fail 'it is not said why'; }
within 5 'stele.toml is another again' status_is .configured differs

# 11. Ten thousand prefixes.
{ policy_toml | sed 's/10.20.0.0\/16/10.20.0.0\/17/'
  printf '[[zones]]\nname = "archive"\ninterface = "eth0"\naddress = "203.0.113.5"\n'
  for flow in $(seq 0 31); do
    printf '[[zones.flows]]\nname = "f%s"\ntcp_ports = [%s]\nto = [' "$flow" "$((1000 + flow))"
    for n in $(seq 0 255); do printf '"100.%s.%s.0/24",' "$((64 + flow))" "$n"; done
    printf ']\n'
  done
  for zone in $(seq 1 8); do
    printf '[[zones]]\nname = "z%s"\ninterface = "eth1.%s"\naddress = "10.%s.0.1"\nsyslog_udp_port = 514\nallowed_sources = [' "$zone" "$zone" "$((40 + zone))"
    for n in $(seq 0 255); do printf '"10.%s.%s.0/25",' "$((40 + zone))" "$n"; done
    printf ']\n'
  done; } >"$work/large.toml"
for name in alice bob; do approve $name "$work/large.toml"; done
begun=$(date +%s%N)
succeeds '10,240 prefixes' stele policy apply "$work/large.toml" --why large --force --approval "$work/alice.approval" --approval "$work/bob.approval"
pass "in $((($(date +%s%N) - begun) / 1000000)) ms"
rules_are 'they are in force' "$work/large.toml"
digest=$(stele policy show --json | jq -r .digest)
same 'all of it is in the log' "$digest" "$(events policy_change | jq -j 'select(.why == "large") | .policy' | sha256sum | cut -d' ' -f1)"

same 'the guard was started again once, and nobody else' '{"stele-guard":0}' \
  "$(status_json | jq -c '[.processes[] | select(.restarts > 0 or .name == "stele-guard") | {(.name): .restarts}] | add')"
verify_says "$good_words"
succeeds 'stele up stops cleanly' stop_stele

# 12. With at_start = "apply" a start is what applies, by the same rules: not without the words that are wanted, and the entry first.
policy_toml "at_start = \"apply\"\n$approvers" >"$toml"
start_stele "$work/s"
rules_are 'a start does not apply what nobody has approved' "$work/large.toml"
within 5 'the status says that stele.toml is another' status_is .configured differs
succeeds 'stele up stops cleanly' stop_stele
policy_toml 'at_start = "apply"' >"$toml"
start_stele "$work/s"
within 10 'a start applies stele.toml' has_rules "$toml"
at_start() { [ -n "$(events policy_change | jq -c 'select(.why == "stele.toml is another at this start" and .who == "stele up")')" ]; }
within 5 'as a change with its entry' at_start
within 5 'it is in force' status_is .configured in_force
succeeds 'stele up stops cleanly' stop_stele
verify_says "$good_words" "$work/s"
kill "$peer" 2>/dev/null || true
finish_test
