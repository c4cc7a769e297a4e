# A real rsyslog as a device that forwards what local programs log. Source after common.sh, processes.sh; scripts/peers fetches
# the rsyslog it runs.

forwarder_pid=''

# start_forwarder DIR PORT [DRIVER [CERTIFICATE KEY]]: rsyslog reads the datagram socket DIR/log (for `logger -u DIR/log`) and
# forwards octet-counted over TCP to 127.0.0.1:PORT, in RFC 5424. DRIVER is one of rsyslog's for TLS, ossl or gtls: it then expects
# the certificate of this Stele.
start_forwarder() {
  local dir=$1 port=$2 driver=${3:-} tls_global='' tls_action='' peers="$root/build/peers" modules end=$((SECONDS + 20))
  if [ -n "$driver" ]; then
    tls_global="defaultNetstreamDriverCAFile=\"$stele_dir/keys/ca.pem\""
    [ -z "${4:-}" ] || tls_global+=" defaultNetstreamDriverCertFile=\"$4\" defaultNetstreamDriverKeyFile=\"$5\""
    tls_action="StreamDriver=\"$driver\" StreamDriverMode=\"1\" StreamDriverAuthMode=\"x509/name\" StreamDriverPermittedPeers=\"localhost\""
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

# start_syslog_ng_relay DIR PORT [CERTIFICATE KEY]: syslog-ng reads the datagram socket DIR/log and forwards over TLS (RFC 5425) to
# localhost:PORT.
start_syslog_ng_relay() {
  local dir=$1 port=$2 own='' peers="$root/build/peers" end=$((SECONDS + 20))
  mkdir -p "$dir"
  [ -z "${3:-}" ] || own="cert-file(\"$3\") key-file(\"$4\")"
  cat >"$dir/relay.conf" <<CONF
@version: 3.38
options { stats-freq(0); use-dns(no); use-fqdn(no); keep-hostname(yes); };
source in { unix-dgram("$dir/log"); };
destination out { syslog("localhost" port($port) ip-protocol(4) transport("tls")
                         tls(ca-file("$stele_dir/keys/ca.pem") peer-verify(required-trusted) $own)); };
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

# start_relp_device DIR IN_PORT PORT [CA_FILE]: rsyslog takes octet-counted messages on 127.0.0.1:IN_PORT and hands each, as it came, to a RELP
# server on localhost:PORT; with CA_FILE over TLS. It never gives a message up, and tries again every second.
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
action(type="omrelp" target="localhost" port="$port" template="raw" windowSize="128" timeout="20" $tls
       action.resumeRetryCount="-1" action.resumeInterval="1")
CONF
  LD_LIBRARY_PATH=$(cat "$peers/library-path") "$peers/root/usr/sbin/rsyslogd" -n -C -M "$modules" -f "$dir/relp.conf" \
    -i "$dir/relp.pid" >"$dir/relp.out" 2>&1 &
  relp_pid=$!
  wait_for_port "$in" 20 || { cat "$dir/relp.out" >&2; warn "the RELP rsyslog did not start"; return 1; }
}
