# One virtual machine with Secure Boot and a software TPM, and its console. Source after common.sh and processes.sh. No KVM is needed or used.
#
#   machine_dir/   disk.img vars.fd tpm/ console.log monitor.sock      everything one machine is; it starts again from where it was

machine_dir='' machine_pid='' machine_tpm_pid=''
machine_more=()            # further arguments for the emulator
machine_has_tpm=1          # 0: a board without one
machine_has_door=0         # 1: a debugger may come in by gdb.sock
machine_board=virtual      # hardware: SATA, Intel network in other slots, TPM by registers (TIS), USB, the chipset's watchdog; instead of NVMe, virtio, CRB
machine_forward_ingest=''  # ",hostfwd=tcp:127.0.0.1:PORT-10.0.2.15:514,..."
machine_forward_operator=''
machine_restrict_operator=on  # off: the machine reaches this one's loopback as 10.0.3.2

# make_machine DIR DISK VARS: a machine that never ran, with an empty TPM that has a certificate of a throw-away authority.
make_machine() {
  machine_dir=$1
  rm -rf "$machine_dir"
  mkdir -p "$machine_dir/tpm"
  cp --sparse=always "$2" "$machine_dir/disk.img"
  cp "$3" "$machine_dir/vars.fd"
  make_tpm
}

# make_tpm: an empty TPM in the place of the machine's; the old one must have been moved away.
make_tpm() {
  mkdir -p "$machine_dir/tpm"
  cat >"$machine_dir/swtpm_setup.conf" <<CONF
create_certs_tool = /usr/bin/swtpm_localca
create_certs_tool_config = $machine_dir/swtpm-localca.conf
create_certs_tool_options = /etc/swtpm-localca.options
active_pcr_banks = sha256
CONF
  cat >"$machine_dir/swtpm-localca.conf" <<CONF
statedir = $machine_dir/tpm-ca
signingkey = $machine_dir/tpm-ca/signkey.pem
issuercert = $machine_dir/tpm-ca/issuercert.pem
certserial = $machine_dir/tpm-ca/certserial
CONF
  mkdir -p "$machine_dir/tpm-ca"
  swtpm_setup --tpm2 --tpmstate "$machine_dir/tpm" --create-ek-cert --create-platform-cert --pcr-banks sha256 \
    --config "$machine_dir/swtpm_setup.conf" >"$machine_dir/swtpm_setup.log" 2>&1 || { tail -n 3 "$machine_dir/swtpm_setup.log" >&2; die "swtpm_setup failed"; }
}

# place_of PARTITION [DISK]: where it begins and how long it is, in bytes, on the machine's disk or another; offset_of: where it begins.
place_of() { sfdisk -J "${2:-$machine_dir/disk.img}" | jq -r --arg name "$1" '.partitiontable.partitions[] | select(.name == $name) | "\(.start * 512) \(.size * 512)"'; }
offset_of() { place_of "$@" | cut -d' ' -f1; }

start_tpm() {
  setsid swtpm socket --tpm2 --tpmstate dir="$machine_dir/tpm" --ctrl type=unixio,path="$machine_dir/tpm.sock" --terminate \
    >"$machine_dir/swtpm.log" 2>&1 &
  machine_tpm_pid=$!
  local end=$((SECONDS + 10))
  until [ -S "$machine_dir/tpm.sock" ]; do [ "$SECONDS" -lt "$end" ] || die "swtpm did not start"; sleep 0.05; done
}

# start_machine [LOG]: power on. The console goes to $machine_dir/LOG (default console.log), from its beginning.
start_machine() {
  machine_console="$machine_dir/${1:-console.log}"
  : >"$machine_console"
  rm -f "$machine_dir"/*.sock
  local tpm=() tpm_device=tpm-crb board=() disk=(-device nvme,serial=stele0,drive=disk) network=virtio-net-pci slots=(0x10 0x11)
  if [ "$machine_board" = hardware ]; then
    tpm_device=tpm-tis board=(-global ICH9-LPC.noreboot=false) disk=(-device ide-hd,bus=ide.0,drive=disk,bootindex=1 -device qemu-xhci,id=usb) network=e1000e slots=(0x12 0x13)
  fi
  if [ "$machine_has_tpm" = 1 ]; then
    start_tpm
    tpm=(-chardev socket,id=tpm,path="$machine_dir/tpm.sock" -tpmdev emulator,id=tpm,chardev=tpm -device "$tpm_device",tpmdev=tpm)
  fi
  [ "$machine_has_door" = 0 ] || board+=(-gdb "unix:$machine_dir/gdb.sock,server=on,wait=off")
  # in a session of its own: Ctrl-C in a terminal would be a power cut
  nice -n 5 setsid qemu-system-x86_64 -nodefaults -machine q35,smm=on -accel tcg,thread=multi -cpu max -smp "${machine_cpus:-2}" -m 1536 -no-reboot -display none \
    -global driver=cfi.pflash01,property=secure,value=on \
    -drive if=pflash,format=raw,unit=0,file=/usr/share/OVMF/OVMF_CODE_4M.secboot.fd,readonly=on \
    -drive if=pflash,format=raw,unit=1,file="$machine_dir/vars.fd" \
    -drive if=none,id=disk,format=raw,file="$machine_dir/disk.img",discard=unmap "${disk[@]}" \
    "${tpm[@]}" \
    -netdev user,id=ingest,net=10.0.2.0/24,restrict=on"$machine_forward_ingest" -device "$network",netdev=ingest,addr="${slots[0]}",mac=52:54:00:00:00:10,romfile= \
    -netdev user,id=operator,net=10.0.3.0/24,restrict="$machine_restrict_operator$machine_forward_operator" -device "$network",netdev=operator,addr="${slots[1]}",mac=52:54:00:00:00:11,romfile= \
    -device virtio-rng-pci -serial file:"$machine_console" -monitor unix:"$machine_dir/monitor.sock",server,nowait \
    ${board[@]+"${board[@]}"} ${machine_more[@]+"${machine_more[@]}"} >"$machine_dir/qemu.log" 2>&1 &
  machine_pid=$!
}

machine_runs() { [ -n "$machine_pid" ] && kill -0 "$machine_pid" 2>/dev/null; }

# wait_console REGEX SECONDS: until a line of the console matches. Fails when the machine ends or the time is over.
wait_console() {
  local end=$((SECONDS + $2))
  until grep -aqE "$1" "$machine_console"; do
    if ! machine_runs && ! grep -aqE "$1" "$machine_console"; then return 1; fi
    [ "$SECONDS" -lt "$end" ] || return 1
    sleep 0.2
  done
}

# machine_ends SECONDS: the machine ends by itself within the time, as at a restart (the next start begins it again). One that does not is cut off.
machine_ends() {
  local end=$((SECONDS + $1)) status=0
  while machine_runs && [ "$SECONDS" -lt "$end" ]; do sleep 0.2; done
  if machine_runs; then status=1; fi
  power_cut
  return "$status"
}

console_value() {  # console_value KEY: what the console last said behind "stele: KEY"
  tr -d '\r' <"$machine_console" | grep -a "^stele: $1 " | tail -n 1 | sed "s/^stele: $1 //"
}

# power_cut: the machine ends at once, as when the power goes; its TPM has what it had.
power_cut() {
  [ -z "$machine_pid" ] || { kill -KILL "$machine_pid" 2>/dev/null || true; wait "$machine_pid" 2>/dev/null || true; }
  machine_pid=''
  [ -z "$machine_tpm_pid" ] || stop_process "$machine_tpm_pid" 5
  machine_tpm_pid=''
}

# monitor COMMAND: one line to the emulator's monitor. It reads the line byte by byte and forgets what it has not read yet when the connection ends,
# so this waits for the prompt behind the command.
monitor() {
  python3 - "$machine_dir/monitor.sock" "$1" <<'PYTHON'
import socket, sys
monitor = socket.socket(socket.AF_UNIX)
monitor.settimeout(60)
monitor.connect(sys.argv[1])
def until_prompt():
    answer = b""
    while not answer.endswith(b"(qemu) "):
        more = monitor.recv(4096)
        if not more:
            return
        answer += more
until_prompt()
monitor.sendall(sys.argv[2].encode() + b"\n")
until_prompt()
PYTHON
}

# hang_machine: its processors stop and take no interrupt any more, as when the kernel hangs. By the debugger's door, see machine_has_door.
hang_machine() {
  python3 - "$machine_dir/gdb.sock" <<'PYTHON'
import socket, sys, time
INTERRUPTS_ON, HALT_FOR_EVER = 0x200, "f4ebfd"  # hlt; jmp to it
door = socket.socket(socket.AF_UNIX)
door.settimeout(60)
door.connect(sys.argv[1])  # the machine stands still from here on
def answer():
    text = b""
    while not (len(text) > 2 and text[-3:-2] == b"#"):
        byte = door.recv(1)
        if not byte:
            sys.exit("the door was closed")
        text = text + byte if text or byte == b"$" else b""
    door.sendall(b"+")
    return text[1:-3].decode()
def ask(text, wait=True):
    door.sendall(b"$%s#%02x" % (text.encode(), sum(text.encode()) % 256))
    return answer() if wait else None
answer()  # unasked: that it stands still
processors, more = [], ask("qfThreadInfo")
while more != "l":
    processors += more[1:].split(",")
    more = ask("qsThreadInfo")
end = time.monotonic() + 60
while processors:
    for processor in list(processors):
        ask("Hg" + processor)
        registers = bytes.fromhex(ask("g"))
        at, flags, segment = (int.from_bytes(registers[a:b], "little") for a, b in ((128, 136), (136, 140), (140, 144)))
        if segment & 3:
            continue  # in a program, where it may not halt
        registers = registers[:136] + (flags & ~INTERRUPTS_ON).to_bytes(4, "little") + registers[140:]
        for change in (f"M{at:x},{len(HALT_FOR_EVER) // 2}:{HALT_FOR_EVER}", "G" + registers.hex()):
            if ask(change) != "OK":
                sys.exit("not done: " + change)
        processors.remove(processor)
    if time.monotonic() > end:
        sys.exit("it does not hang")
    if processors:
        ask("c", wait=False)
        time.sleep(0.05)
        door.sendall(b"\x03")
        answer()
ask("D")
PYTHON
}

# power_off SECONDS: the key combination of the console; a clean end within the time.
power_off_machine() {
  local end=$((SECONDS + $1)) status=0
  monitor 'sendkey ctrl-alt-delete' || status=1
  while [ "$status" = 0 ] && machine_runs && [ "$SECONDS" -lt "$end" ]; do sleep 0.2; done
  if machine_runs; then
    status=1
    warn "it still runs; the last lines of its console:"
    tail -n 25 "$machine_console" >&2
  fi
  power_cut
  return "$status"
}
