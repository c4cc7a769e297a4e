# Goal: the units stay as tight as they are. Method: systemd's own score, offline, with a ceiling for each (0 is best; rsyslog's unit has 9.6), with what
# the initial RAM disk adds at a start.
bad=0
work="$root/build/image/tests/units"
rm -rf "$work"
mkdir -p "$work"
cp "$root"/image/root/overlay/usr/lib/systemd/system/*.service "$work/"
for unit in stele-ledger@ stele-query@ stele; do  # as firmware/initrd/logs.cc
  mkdir "$work/$unit.service.d"
  printf '[Service]\nDeviceAllow=/dev/stele-log/0 rw\n' >"$work/$unit.service.d/logs.conf"
done
while read -r unit ceiling; do
  score=$(systemd-analyze security --offline=true --no-pager "$work/$unit" 2>/dev/null | sed -n 's/.*Overall exposure level for [^:]*: \([0-9.]*\).*/\1/p')
  if awk -v score="${score:-99}" -v ceiling="$ceiling" 'BEGIN { exit !(score <= ceiling) }'; then say "  $unit: $score"; else warn "$unit: ${score:-no score}, at most $ceiling"; bad=1; fi
done <<'UNITS'
stele.service 2.0
stele-receive@.service 0.2
stele-ledger@.service 0.2
stele-anchor@.service 0.2
stele-query@.service 0.2
stele-web@.service 0.2
stele-courier@.service 1.1
stele-guard@.service 1.4
stele-guard-watch@.service 0.2
stele-clock-set.service 1.9
stele-clock.service 1.9
stele-policy.service 2.2
stele-policy-render.service 1.2
stele-console.service 2.0
stele-confirm.service 0.3
UNITS
while read -r file; do  # a copy that keeps no links makes files of them, and systemd starts none of these units
  warn "${file#"$root"/} is no link"; bad=1
done < <(find "$root/image/root/overlay" -path '*.wants/*' ! -type l)
for unit in "$root"/image/root/overlay/usr/lib/systemd/system/stele-*@.service; do  # one process must not join another
  grep -qx 'InaccessiblePaths=-/run/stele/units' "$unit" || { warn "${unit##*/} sees the sockets of the units"; bad=1; }
done
exit "$bad"
