# The two peers as receivers of octet-counted syslog over TCP that write raw lines to one file, each in the best
# configuration we found (docs/testing.md says what was tried). Source after common.sh and processes.sh.
# Sets receiver_pid. Needs scripts/peers to have run.

peers="$root/build/peers"

start_rsyslog() {  # start_rsyslog DIR PORT OUTPUT
  local modules
  modules="$peers/root/usr/lib/$(cat "$peers/triplet")/rsyslog"
  cat >"$1/rsyslog.conf" <<CONF
global(workDirectory="$1" maxMessageSize="8k")
main_queue(queue.type="FixedArray" queue.size="200000" queue.dequeueBatchSize="${RSYSLOG_BATCH:-4096}"
           queue.workerThreads="${RSYSLOG_WORKERS:-1}")
module(load="$modules/imptcp" threads="${RSYSLOG_THREADS:-1}")
template(name="raw" type="list") { property(name="rawmsg") constant(value="\n") }
input(type="imptcp" address="127.0.0.1" port="$2" supportOctetCountedFraming="on")
action(type="omfile" file="$3" template="raw" ioBufferSize="256k" ${RSYSLOG_ACTION:-})
CONF
  LD_LIBRARY_PATH=$(cat "$peers/library-path") "$peers/root/usr/sbin/rsyslogd" -n -C -M "$modules" -f "$1/rsyslog.conf" \
    -i "$1/rsyslog.pid" >"$1/rsyslog.out" 2>&1 &
  receiver_pid=$!
  wait_for_port "$2" 20 || { cat "$1/rsyslog.out" >&2; die "rsyslog did not start"; }
}

start_syslog_ng() {  # start_syslog_ng DIR PORT OUTPUT
  cat >"$1/syslog-ng.conf" <<CONF
@version: 3.38
options { stats-freq(0); keep-hostname(yes); use-dns(no); use-fqdn(no); log-fifo-size(1000000); threaded(yes); };
source in { syslog(transport("tcp") ip("127.0.0.1") port($2) max-connections(16) log-iw-size(160000)
                   log-fetch-limit(10000) flags(no-parse)); };
destination out { file("$3" template("\${MESSAGE}\n") flush-lines(10000)); };
log { source(in); destination(out); flags(flow-control); };
CONF
  LD_LIBRARY_PATH=$(cat "$peers/library-path") "$peers/root/usr/sbin/syslog-ng" -F --no-caps -f "$1/syslog-ng.conf" \
    --module-path="$peers/root/usr/lib/syslog-ng/3.38" -R "$1/syslog-ng.persist" -p "$1/syslog-ng.pid" \
    -c "$1/syslog-ng.ctl" >"$1/syslog-ng.out" 2>&1 &
  receiver_pid=$!
  wait_for_port "$2" 20 || { cat "$1/syslog-ng.out" >&2; die "syslog-ng did not start"; }
}
