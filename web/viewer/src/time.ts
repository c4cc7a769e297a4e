// Times are UTC everywhere, and say so. Nanoseconds since the epoch are bigint: they pass 2^53.

const NS_PER_MS = 1_000_000n;

export interface Range { from: string | null; to: string | null }

/** "2026-11-21 03:00:00.036Z". The receive time of the proven entry, rounded down to milliseconds. */
export function formatNs(ns: string | bigint): string {
  const value = BigInt(ns);
  const ms = value >= 0n ? value / NS_PER_MS : (value - NS_PER_MS + 1n) / NS_PER_MS;
  return formatMs(Number(ms));
}

export function formatMs(ms: number): string {
  const date = new Date(ms);
  return Number.isNaN(date.getTime()) ? 'outside of time' : date.toISOString().replace('T', ' ');
}

/** The nine digits after the second, for the drawer. */
export function formatNsExact(ns: string): string {
  const value = BigInt(ns);
  const second = value / 1_000_000_000n;
  const rest = ((value % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n;
  return `${formatMs(Number(second) * 1000).slice(0, 19)}.${rest.toString().padStart(9, '0')}Z`;
}

export const PRESETS: { id: string; label: string; seconds: number | null }[] = [
  { id: '5m', label: 'Last 5 minutes', seconds: 300 },
  { id: '15m', label: 'Last 15 minutes', seconds: 900 },
  { id: '1h', label: 'Last hour', seconds: 3600 },
  { id: '4h', label: 'Last 4 hours', seconds: 14_400 },
  { id: '24h', label: 'Last 24 hours', seconds: 86_400 },
  { id: '7d', label: 'Last 7 days', seconds: 604_800 },
  { id: '30d', label: 'Last 30 days', seconds: 2_592_000 },
  { id: 'all', label: 'All of the log', seconds: null },
];

/** A preset becomes an absolute range once, when the search runs. The end lies ahead of our clock: the appliance's may be too. */
export function freezePreset(id: string, nowMs: number): Range {
  const seconds = PRESETS.find((preset) => preset.id === id)?.seconds;
  if (seconds === null || seconds === undefined) return { from: null, to: null };
  const to = Math.ceil(nowMs / 1000) * 1000 + 1000;
  return { from: new Date(to - seconds * 1000).toISOString(), to: new Date(to).toISOString() };
}

/** "2026-11-21 03:00", "2026-11-21T03:00:00.5Z", "03:00" (that day, UTC) -> RFC 3339; undefined when it is none of these. */
export function parseTime(text: string, nowMs: number): string | undefined {
  const trimmed = text.trim();
  const clock = /^(\d{1,2}):(\d{2})(?::(\d{2}))?$/.exec(trimmed);
  const full = clock === null ? trimmed : `${new Date(nowMs).toISOString().slice(0, 10)} ${trimmed.padStart(trimmed.length < 5 ? 5 : 0, '0')}`;
  const match = /^(\d{4})-(\d{2})-(\d{2})(?:[T ](\d{2}):(\d{2})(?::(\d{2})(?:\.(\d{1,9}))?)?)?Z?$/.exec(full);
  if (match === null) return undefined;
  const [, year, month, day, hour = '00', minute = '00', second = '00', fraction = ''] = match;
  const iso = `${year}-${month}-${day}T${hour}:${minute}:${second}.${fraction.slice(0, 3).padEnd(3, '0')}Z`;
  const date = new Date(iso);
  return Number.isNaN(date.getTime()) || date.toISOString() !== iso ? undefined : iso;
}

export const isoOfMs = (ms: number): string => new Date(ms).toISOString();

/** "12 s", "4 h 12 m", "2 d 3 h": at most two units. */
export function formatDuration(ms: number): string {
  const sign = ms < 0 ? '\u2212' : '';
  const s = Math.abs(ms) / 1000;
  if (s < 10) return `${sign}${s.toFixed(1)} s`;
  if (s < 60) return `${sign}${Math.round(s)} s`;
  const pair = (large: number, unit: string, small: number, smallUnit: string): string =>
    `${sign}${large} ${unit}${small > 0 ? ` ${small} ${smallUnit}` : ''}`;
  if (s < 3600) return pair(Math.floor(s / 60), 'm', Math.floor(s % 60), 's');
  if (s < 86_400) return pair(Math.floor(s / 3600), 'h', Math.floor((s % 3600) / 60), 'm');
  return pair(Math.floor(s / 86_400), 'd', Math.floor((s % 86_400) / 3600), 'h');
}

/** 14 588: groups of three, a thin non-breaking space between. */
export function formatCount(n: number): string {
  return Number.isFinite(n) ? Math.trunc(n).toString().replace(/\B(?=(\d{3})+(?!\d))/g, '\u202f') : '?';
}

export function formatBytes(n: number): string {
  if (n < 1024) return `${n} B`;
  const units = ['KiB', 'MiB', 'GiB', 'TiB'];
  let value = n / 1024;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${value.toFixed(value < 10 ? 1 : 0)} ${units[unit] ?? ''}`;
}
