# Shared by the scripts: free ports, process trees, what they cost. Source it after common.sh.

# A TCP port of loopback on which nobody listens now. The programs that need this cannot bind port 0 and say which they got.
free_port() {
  local port
  for _ in $(seq 50); do
    port=$((20000 + RANDOM % 12000))
    if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then echo "$port"; return; fi
  done
  die "no free port found"
}

wait_for_port() {  # wait_for_port PORT SECONDS
  local end=$((SECONDS + $2))
  until (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; do
    [ "$SECONDS" -lt "$end" ] || return 1
    sleep 0.1
  done
}

# A process and all its descendants, one pid a line.
process_tree() {
  local todo=("$1") pid children
  while [ ${#todo[@]} -gt 0 ]; do
    pid=${todo[0]}; todo=("${todo[@]:1}")
    [ -d "/proc/$pid" ] || continue
    echo "$pid"
    read -ra children < <(cat /proc/"$pid"/task/*/children 2>/dev/null | tr '\n' ' ') || true
    todo+=("${children[@]}")
  done
}

# pid_in_tree PID NAME: the first process of that name below PID; nothing when there is none.
pid_in_tree() {
  local pid
  for pid in $(process_tree "$1"); do
    if grep -qx "$2" "/proc/$pid/comm" 2>/dev/null; then echo "$pid"; return; fi
  done
}

# Processor seconds of a process tree, with children that have ended and were waited for (utime stime cutime cstime).
tree_cpu_seconds() {
  local pid line
  for pid in $(process_tree "$1"); do
    line=$(cat "/proc/$pid/stat" 2>/dev/null) || continue
    echo "${line##*) }"
  done | awk -v hz="$(getconf CLK_TCK)" '{ ticks += $12 + $13 + $14 + $15 } END { printf "%.2f\n", ticks / hz }'
}

# Sum of the peak resident sizes (VmHWM) of a process tree, in MiB: an upper bound of the peak of the sum.
tree_peak_mib() {
  local pid
  for pid in $(process_tree "$1"); do
    awk '/^VmHWM/ { print $2 }' "/proc/$pid/status" 2>/dev/null || true
  done | awk '{ kib += $1 } END { printf "%.0f\n", kib / 1024 }'
}

stop_process() {  # stop_process PID [SECONDS]: TERM, then KILL after the time given
  local pid=$1 end=$((SECONDS + ${2:-20}))
  kill -TERM "$pid" 2>/dev/null || return 0
  while kill -0 "$pid" 2>/dev/null; do
    if [ "$SECONDS" -ge "$end" ]; then kill -KILL "$pid" 2>/dev/null || true; break; fi
    sleep 0.1
  done
  wait "$pid" 2>/dev/null || true
}
