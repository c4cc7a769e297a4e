# A real rsyslog as a device that forwards what local programs log. Source after common.sh, processes.sh; scripts/peers fetches
# the rsyslog it runs.

forwarder_pid=''

# start_forwarder DIR PORT: rsyslog reads the datagram socket DIR/log (for `logger -u DIR/log`) and forwards octet-counted
# over TCP to 127.0.0.1:PORT, in RFC 5424.
start_forwarder() {
  local dir=$1 port=$2 peers="$root/build/peers" modules end=$((SECONDS + 20))
  modules="$peers/root/usr/lib/$(cat "$peers/triplet")/rsyslog"
  mkdir -p "$dir"
  cat >"$dir/forwarder.conf" <<CONF
global(workDirectory="$dir" localHostname="forwarder")
module(load="imuxsock" sysSock.use="off")
input(type="imuxsock" socket="$dir/log" createPath="off")
action(type="omfwd" target="127.0.0.1" port="$port" protocol="tcp" tcp_framing="octet-counted"
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
