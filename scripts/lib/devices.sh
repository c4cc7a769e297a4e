# A real rsyslog as a device that forwards what local programs log. Source after common.sh, processes.sh; scripts/peers fetches
# the rsyslog it runs.

forwarder_pid=''

# start_forwarder DIR PORT [DRIVER [CERTIFICATE KEY [AUTHORITY]]]: rsyslog reads the datagram socket DIR/log (for `logger -u DIR/log`) and
# forwards octet-counted over TCP to 127.0.0.1:PORT, in RFC 5424. DRIVER is one of rsyslog's for TLS, ossl or gtls (or
# gtls12: as it is, which is TLS 1.2): it then expects a certificate of that authority, by default the one of this Stele.
start_forwarder() {
  local dir=$1 port=$2 driver=${3:-} tls_global='' tls_action='' peers="$root/build/peers" modules end=$((SECONDS + 20))
  if [ -n "$driver" ]; then
    tls_global="defaultNetstreamDriverCAFile=\"${6:-$stele_dir/keys/ca.pem}\""
    [ -z "${4:-}" ] || tls_global+=" defaultNetstreamDriverCertFile=\"$4\" defaultNetstreamDriverKeyFile=\"$5\""
    tls_action="StreamDriver=\"${driver%12}\" StreamDriverMode=\"1\" StreamDriverAuthMode=\"x509/name\" StreamDriverPermittedPeers=\"localhost\""
    # This driver leaves TLS 1.3 out unless it is told otherwise.
    [ "$driver" != gtls ] || tls_action+=' gnutlsPriorityString="NORMAL:+VERS-TLS1.3"'
  fi
  modules="$peers/root/usr/lib/$(cat "$peers/triplet")/rsyslog"
  mkdir -p "$dir"
  cat >"$dir/forwarder.conf" <<CONF
global(workDirectory="$dir" localHostname="forwarder" $tls_global)
module(load="imuxsock" sysSock.use="off")
input(type="imuxsock" socket="$dir/log" createPath="off")
action(type="omfwd" target="127.0.0.1" port="$port" protocol="tcp" tcp_framing="octet-counted" $tls_action
       template="RSYSLOG_SyslogProtocol23Format" action.resumeRetryCount="-1")
CONF
  LD_LIBRARY_PATH=$(cat "$peers/library-path") "$peers/root/usr/sbin/rsyslogd" -n -M "$modules" -f "$dir/forwarder.conf" \
    -i "$dir/forwarder.pid" >"$dir/forwarder.out" 2>&1 &
  forwarder_pid=$!
  until [ -S "$dir/log" ]; do
    if ! kill -0 "$forwarder_pid" 2>/dev/null || [ "$SECONDS" -ge "$end" ]; then
      cat "$dir/forwarder.out" >&2
      warn "the forwarding rsyslog did not start"
      return 1
    fi
    sleep 0.05
  done
}

relay_pid=''

# start_syslog_ng_relay DIR DRIVER PORT [CERTIFICATE KEY]: syslog-ng reads the datagram socket DIR/log and forwards to localhost:PORT.
# DRIVER is one of network-tcp (RFC 3164, lines), network-udp, syslog-tcp (RFC 5424, octet-counted), syslog-tls (RFC 5425).
start_syslog_ng_relay() {
  local dir=$1 driver=$2 port=$3 own='' tls='' peers="$root/build/peers" end=$((SECONDS + 20))
  mkdir -p "$dir"
  [ -z "${4:-}" ] || own="cert-file(\"$4\") key-file(\"$5\")"
  [ "$driver" != syslog-tls ] || tls="tls(ca-file(\"$stele_dir/keys/ca.pem\") peer-verify(required-trusted) $own)"
  cat >"$dir/relay.conf" <<CONF
@version: 3.38
options { stats-freq(0); use-dns(no); use-fqdn(no); keep-hostname(yes); };
source in { unix-dgram("$dir/log"); };
destination out { ${driver%-*}("localhost" port($port) ip-protocol(4) transport("${driver#*-}") $tls); };
log { source(in); destination(out); };
CONF
  LD_LIBRARY_PATH=$(cat "$peers/library-path") "$peers/root/usr/sbin/syslog-ng" -F --no-caps -f "$dir/relay.conf" \
    --module-path="$peers/root/usr/lib/syslog-ng/3.38" -R "$dir/relay.persist" -p "$dir/relay.pid" -c "$dir/relay.ctl" \
    >"$dir/relay.out" 2>&1 &
  relay_pid=$!
  until [ -S "$dir/log" ]; do
    if ! kill -0 "$relay_pid" 2>/dev/null || [ "$SECONDS" -ge "$end" ]; then
      cat "$dir/relay.out" >&2
      warn "the forwarding syslog-ng did not start"
      return 1
    fi
    sleep 0.05
  done
}

relp_pid=''

# start_relp_device DIR IN_PORT PORT [CA_FILE [HOST]]: rsyslog takes octet-counted messages on 127.0.0.1:IN_PORT and hands each, as it came, to a
# RELP server on localhost:PORT, or HOST:PORT; with CA_FILE over TLS. It never gives a message up, and tries again every second.
start_relp_device() {
  local dir=$1 in=$2 port=$3 tls='' peers="$root/build/peers" modules end=$((SECONDS + 20))
  [ -z "${4:-}" ] || tls="tls=\"on\" tls.caCert=\"$4\" tls.authMode=\"name\" tls.permittedPeer=[\"localhost\"]"
  modules="$peers/root/usr/lib/$(cat "$peers/triplet")/rsyslog"
  mkdir -p "$dir"
  cat >"$dir/relp.conf" <<CONF
global(workDirectory="$dir" maxMessageSize="64k" net.enableDNS="off")
main_queue(queue.type="FixedArray" queue.size="100000" queue.dequeueBatchSize="256")
module(load="imptcp")
module(load="omrelp" tls.tlslib="openssl")
template(name="raw" type="list") { property(name="rawmsg") }
input(type="imptcp" address="127.0.0.1" port="$in" supportOctetCountedFraming="on")
action(type="omrelp" target="${5:-localhost}" port="$port" template="raw" windowSize="128" timeout="20" $tls
       action.resumeRetryCount="-1" action.resumeInterval="1")
CONF
  LD_LIBRARY_PATH=$(cat "$peers/library-path") "$peers/root/usr/sbin/rsyslogd" -n -C -M "$modules" -f "$dir/relp.conf" \
    -i "$dir/relp.pid" >"$dir/relp.out" 2>&1 &
  relp_pid=$!
  wait_for_port "$in" 20 || { cat "$dir/relp.out" >&2; warn "the RELP rsyslog did not start"; return 1; }
}

journal_pid=''

# start_journal_device DIR PORT: a systemd-journald of its own, with ForwardToSyslog, and behind it the rsyslog that takes what it forwards
# and sends it on over UDP to 127.0.0.1:PORT. Both see a /run and a journald.conf of their own (a private mount namespace: needs root), so that
# the journal of this machine, if there is one, hears nothing. in_journal COMMAND... runs a program beside them.
start_journal_device() {
  local dir=$1 port=$2 peers="$root/build/peers" end=$((SECONDS + 20))
  mkdir -p "$dir"
  printf '[Journal]\nStorage=volatile\nRuntimeMaxUse=16M\nReadKMsg=no\nAudit=no\nForwardToSyslog=yes\n' >"$dir/journald.conf"
  cat >"$dir/rsyslog.conf" <<CONF
global(workDirectory="$dir" localHostname="journaled" net.enableDNS="off")
module(load="imuxsock" SysSock.Name="/run/systemd/journal/syslog")
action(type="omfwd" target="127.0.0.1" port="$port" protocol="udp" template="RSYSLOG_SyslogProtocol23Format")
CONF
  cat >"$dir/inside.sh" <<'INSIDE'
set -eu
mount -t tmpfs -o size=64m tmpfs /run
mkdir -p /run/systemd/journal /run/log/journal
mount --bind "$1/journald.conf" /etc/systemd/journald.conf
if [ ! -s /etc/machine-id ]; then
  echo 5ca1ab1e5ca1ab1e5ca1ab1e5ca1ab1e >"$1/machine-id"
  mount --bind "$1/machine-id" /etc/machine-id
fi
trap 'kill $(jobs -p)' TERM
/lib/systemd/systemd-journald &
LD_LIBRARY_PATH=$2 "$3/usr/sbin/rsyslogd" -n -M "$4" -f "$1/rsyslog.conf" -i "$1/rsyslog.pid" &
wait || wait
INSIDE
  unshare --mount bash "$dir/inside.sh" "$dir" "$(cat "$peers/library-path")" "$peers/root" \
    "$peers/root/usr/lib/$(cat "$peers/triplet")/rsyslog" >"$dir/journal.out" 2>&1 &
  journal_pid=$!
  until [ -S "/proc/$journal_pid/root/run/systemd/journal/stdout" ] && [ -S "/proc/$journal_pid/root/run/systemd/journal/syslog" ]; do
    if ! kill -0 "$journal_pid" 2>/dev/null || [ "$SECONDS" -ge "$end" ]; then
      cat "$dir/journal.out" >&2
      warn "systemd-journald and its rsyslog did not start"
      return 1
    fi
    sleep 0.05
  done
}
in_journal() { nsenter --target "$journal_pid" --mount "$@"; }
