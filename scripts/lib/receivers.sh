# The usual syslog servers as receivers that write raw lines to one file, each in the best configuration we found (docs/testing.md
# says what was tried), as they are used (nothing is synced) and with a sync for every batch. Source after common.sh and processes.sh.
# Needs scripts/peers to have run. Every start_... sets $receiver_pid and waits until the receiver listens.

peers="$root/build/peers"

# start_peer KIND DIR PORT OUTPUT: KIND is one of the names below; `-sync` behind it syncs the file for every batch of the queue.
#   rsyslog-imtcp  rsyslog-imptcp  rsyslog-imudp  rsyslog-imrelp  rsyslog-tls    (imtcp over the OpenSSL driver)
#   syslog-ng  (octet-counted TCP)  syslog-ng-udp  syslog-ng-tls
# TLS needs $tls_dir with cert.pem and key.pem (see make_tls_files).
start_peer() {
  local kind=${1%-sync} sync=0
  [ "$kind" = "$1" ] || sync=1
  mkdir -p "$2"
  case "$kind" in
    rsyslog-*) start_rsyslog "${kind#rsyslog-}" "$sync" "$2" "$3" "$4" ;;
    syslog-ng*) kind=${kind#syslog-ng}; start_syslog_ng "${kind#-}" "$sync" "$2" "$3" "$4" ;;
    *) usage_error "unknown receiver $1" ;;
  esac
}

# RELP with sync: the message goes through no queue, so that the answer comes after the write and its sync. All other cases write
# what the queue gives them, up to 4,096 messages at once.
start_rsyslog() {  # start_rsyslog INPUT SYNC DIR PORT OUTPUT
  local input=$1 sync=$2 dir=$3 port=$4 output=$5 modules queue action='' udp=0
  modules="$peers/root/usr/lib/$(cat "$peers/triplet")/rsyslog"
  queue="queue.type=\"FixedArray\" queue.size=\"200000\" queue.dequeueBatchSize=\"${RSYSLOG_BATCH:-4096}\" queue.workerThreads=\"${RSYSLOG_WORKERS:-1}\""
  [ "$sync" = 0 ] || action='sync="on" flushOnTXEnd="on"'
  {
    echo "global(workDirectory=\"$dir\" maxMessageSize=\"8k\" defaultNetstreamDriverCAFile=\"${tls_dir:-}/cert.pem\""
    echo "       defaultNetstreamDriverCertFile=\"${tls_dir:-}/cert.pem\" defaultNetstreamDriverKeyFile=\"${tls_dir:-}/key.pem\")"
    echo 'template(name="raw" type="list") { property(name="rawmsg") constant(value="\n") }'
    case "$input" in
      imptcp)
        echo "module(load=\"$modules/imptcp\" threads=\"${RSYSLOG_THREADS:-1}\")"
        echo "input(type=\"imptcp\" address=\"127.0.0.1\" port=\"$port\" supportOctetCountedFraming=\"on\")" ;;
      imtcp)
        echo "module(load=\"$modules/imtcp\")"
        echo "input(type=\"imtcp\" address=\"127.0.0.1\" port=\"$port\" supportOctetCountedFraming=\"on\")" ;;
      tls)
        echo "module(load=\"$modules/imtcp\" streamDriver.name=\"ossl\" streamDriver.mode=\"1\" streamDriver.authMode=\"anon\")"
        echo "input(type=\"imtcp\" address=\"127.0.0.1\" port=\"$port\" supportOctetCountedFraming=\"on\")" ;;
      imudp)
        udp=1
        echo "module(load=\"$modules/imudp\" threads=\"1\" batchSize=\"128\" timeRequery=\"32\")"
        echo "input(type=\"imudp\" address=\"127.0.0.1\" port=\"$port\" rcvbufSize=\"32m\")" ;;
      imrelp)
        [ "$sync" = 0 ] || queue='queue.type="Direct"'
        echo "module(load=\"$modules/imrelp\")"
        echo "input(type=\"imrelp\" address=\"127.0.0.1\" port=\"$port\" maxDataSize=\"64k\")" ;;
    esac
    echo "main_queue($queue)"
    echo "action(type=\"omfile\" file=\"$output\" template=\"raw\" ioBufferSize=\"256k\" $action ${RSYSLOG_ACTION:-})"
  } >"$dir/rsyslog.conf"
  LD_LIBRARY_PATH=$(cat "$peers/library-path") "$peers/root/usr/sbin/rsyslogd" -n -C -M "$modules" -f "$dir/rsyslog.conf" \
    -i "$dir/rsyslog.pid" >"$dir/rsyslog.out" 2>&1 &
  receiver_pid=$!
  wait_for_listener "$udp" "$port" || { cat "$dir/rsyslog.out" >&2; die "rsyslog ($input) did not start"; }
}

start_syslog_ng() {  # start_syslog_ng TRANSPORT SYNC DIR PORT OUTPUT    (TRANSPORT empty: tcp)
  local transport=${1:-tcp} sync=$2 dir=$3 port=$4 output=$5 source more='' udp=0
  [ "$sync" = 0 ] || more='fsync(yes)'
  source="port($port) flags(no-parse)"
  case "$transport" in
    tcp) source="transport(\"tcp\") $source max-connections(16) log-iw-size(160000) log-fetch-limit(10000)" ;;
    udp) udp=1; source="transport(\"udp\") $source so-rcvbuf(33554432) log-iw-size(160000) log-fetch-limit(10000)" ;;
    tls) source="transport(\"tls\") $source max-connections(16) log-iw-size(160000) log-fetch-limit(10000)
                   tls(key-file(\"$tls_dir/key.pem\") cert-file(\"$tls_dir/cert.pem\") peer-verify(optional-untrusted))" ;;
  esac
  cat >"$dir/syslog-ng.conf" <<CONF
@version: 3.38
options { stats-freq(0); keep-hostname(yes); use-dns(no); use-fqdn(no); log-fifo-size(1000000); threaded(yes); };
source in { syslog(ip("127.0.0.1") $source); };
destination out { file("$output" template("\${MESSAGE}\n") flush-lines(10000) $more); };
log { source(in); destination(out); flags(flow-control); };
CONF
  LD_LIBRARY_PATH=$(cat "$peers/library-path") "$peers/root/usr/sbin/syslog-ng" -F --no-caps -f "$dir/syslog-ng.conf" \
    --module-path="$peers/root/usr/lib/syslog-ng/3.38" -R "$dir/syslog-ng.persist" -p "$dir/syslog-ng.pid" \
    -c "$dir/syslog-ng.ctl" >"$dir/syslog-ng.out" 2>&1 &
  receiver_pid=$!
  wait_for_listener "$udp" "$port" || { cat "$dir/syslog-ng.out" >&2; die "syslog-ng ($transport) did not start"; }
}

# wait_for_listener UDP PORT: until a socket of the receiver is bound there (UDP has nothing to connect to).
wait_for_listener() {
  local end=$((SECONDS + 20)) hex
  [ "$1" = 0 ] && { wait_for_port "$2" 20; return; }
  hex=$(printf ':%04X ' "$2")
  until grep -qF "$hex" /proc/net/udp; do
    [ "$SECONDS" -lt "$end" ] || return 1
    sleep 0.1
  done
}

# make_tls_files DIR: one self-signed certificate for the peers' TLS, in DIR/cert.pem and DIR/key.pem. Sets $tls_dir.
make_tls_files() {
  tls_dir=$1
  mkdir -p "$tls_dir"
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost \
    -keyout "$tls_dir/key.pem" -out "$tls_dir/cert.pem" 2>/dev/null || die "openssl could not make a certificate"
}
