// What the log says about the network: violations (kind alarm) and the policy's history (kind policy), read from proven
// payloads. Every member may be missing or of another type: what cannot be read is left out, never guessed.

export type Json = Record<string, unknown>;

export const VIOLATIONS_QUERY = 'kind:alarm json.alarm:(policy_violation OR policy_scan OR policy_crossing OR policy_violations_uncounted)';
export const HISTORY_QUERY =
  '(kind:policy json.event:(policy_change OR policy_applied OR policy_failed)) OR (kind:alarm json.alarm:(policy_drift OR policy_restored OR policy_unapplied))';

export type ViolationKind = 'violation' | 'scan' | 'crossing' | 'uncounted';
export const VIOLATION_KINDS: ViolationKind[] = ['crossing', 'scan', 'violation', 'uncounted'];

export interface Violation {
  kind: ViolationKind;
  zone: string;
  source: string;
  destination: string;
  protocol: string;
  port: number | null;
  reason: string;          // as the ruleset names it; of packets that were only counted: the cause
  packets: number;         // at least 1: an entry is at least a packet
  fromNs: bigint;
  toNs: bigint;
  detail: string;          // in place of a port: how wide a scan was, the type of an ICMP packet
  target: string;          // of a crossing: whose network it was meant for
}

export type EventKind = 'change' | 'applied' | 'failed' | 'drift' | 'restored' | 'unapplied';

export interface PolicyEvent {
  kind: EventKind;
  digest: string;
  who: string;
  why: string;
  text: string;
  lines: DiffLine[];               // of a change its diff, of a drift the differences
  approvals: { name: string; key: string }[];
  forced: boolean;
  policy: string;                  // the text as it was proposed
  actor: string;                   // of a drift: the program that did it, where that is known
  atStart: boolean;                // put in place again by a start
}

export interface DiffLine { sign: 'opens' | 'closes' | 'other'; text: string }

/** One JSON object, or undefined. */
export function parseObject(bytes: Uint8Array): Json | undefined {
  try {
    const value: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Json) : undefined;
  } catch {
    return undefined;
  }
}

const text = (value: unknown): string => (typeof value === 'string' ? value : '');
const count = (value: unknown): number | null =>
  (typeof value === 'number' && Number.isFinite(value) && value >= 0 ? Math.trunc(value) : null);

/** A number of nanoseconds is beyond 2^53 and therefore only good to some hundreds of them: enough for a chart. */
function nanoseconds(value: unknown): bigint | null {
  if (typeof value === 'string' && /^\d{1,19}$/.test(value)) return BigInt(value);
  return typeof value === 'number' && Number.isFinite(value) && value > 0 ? BigInt(Math.trunc(value)) : null;
}

const ALARMS = new Map<string, ViolationKind>([['policy_violation', 'violation'], ['policy_scan', 'scan'], ['policy_crossing', 'crossing'], ['policy_violations_uncounted', 'uncounted']]);

export function violationOf(payload: Json, receivedNs: string): Violation | undefined {
  const kind = ALARMS.get(text(payload['alarm']));
  if (kind === undefined) return undefined;
  const from = nanoseconds(payload['from_ns']);
  const to = nanoseconds(payload['to_ns']);
  const received = BigInt(receivedNs);
  const ports = count(payload['ports']);
  const addresses = count(payload['addresses']);
  const icmpType = count(payload['icmp_type']);
  return {
    kind,
    zone: text(payload['zone']),
    source: text(payload['source']),
    destination: text(payload['destination']),
    protocol: text(payload['protocol']),
    port: count(payload['port']),
    reason: text(kind === 'uncounted' ? payload['cause'] : payload['reason']),
    packets: Math.max(1, count(payload['packets']) ?? 1),
    fromNs: from ?? to ?? received,
    toNs: to ?? from ?? received,
    detail: [
      ports === null ? '' : `${ports} ${ports === 1 ? 'port' : 'ports'}`,
      addresses === null ? '' : `${addresses} ${addresses === 1 ? 'address' : 'addresses'}`,
      icmpType === null ? '' : `${text(payload['protocol'])} type ${icmpType}`].filter((part) => part !== '').join(', '),
    target: text(payload['target']),
  };
}

function diffLine(value: unknown): DiffLine {
  const line = typeof value === 'string' ? value : JSON.stringify(value) ?? '';
  const match = /^(opens|closes|\+|-)\s+(.*)$/s.exec(line);
  if (match === null) return { sign: 'other', text: line };
  return { sign: match[1] === 'opens' || match[1] === '+' ? 'opens' : 'closes', text: match[2] ?? '' };
}

const EVENTS = new Map<string, EventKind>([
  ['policy_change', 'change'], ['policy_applied', 'applied'], ['policy_failed', 'failed'], ['policy_drift', 'drift'],
  ['policy_restored', 'restored'], ['policy_unapplied', 'unapplied']]);

export function policyEventOf(payload: Json): PolicyEvent | undefined {
  const kind = EVENTS.get(text(payload['event'])) ?? EVENTS.get(text(payload['alarm']));
  if (kind === undefined) return undefined;
  const lines = payload['diff'] ?? payload['differences'];
  const approvals = Array.isArray(payload['approvals']) ? payload['approvals'] as unknown[] : [];
  const process = payload['process'];
  return {
    kind,
    digest: text(payload['digest']),
    who: text(payload['who']),
    why: text(payload['why']),
    text: text(payload['text']),
    lines: Array.isArray(lines) ? lines.map(diffLine) : [],
    approvals: approvals.map((one) => {
      const member = (typeof one === 'object' && one !== null ? one : {}) as Json;
      return { name: text(member['name']), key: text(member['key']) };
    }),
    forced: payload['forced'] === true,
    atStart: payload['at_start'] === true,
    policy: text(payload['policy']),
    actor: [text(payload['program']), typeof process === 'number' && process > 0 ? `process ${process}` : text(process)].filter((part) => part !== '').join(', '),
  };
}

export interface Dated { seq: number; event: PolicyEvent }

export interface HistoryItem<T extends Dated> { item: T; outcomes: T[] }

/**
 * Newest first. What became of a change (applied, failed) stands with it: the outcomes of its digest up to the next change.
 * Drift, restoring and outcomes without their change in the range stand alone.
 */
export function historyOf<T extends Dated>(items: T[]): HistoryItem<T>[] {
  const sorted = [...items].sort((a, b) => a.seq - b.seq);
  const out: HistoryItem<T>[] = [];
  for (const item of sorted) {
    const { kind, digest } = item.event;
    if (kind === 'applied' || kind === 'failed') {
      const change = [...out].reverse().find((one) => one.item.event.kind === 'change');
      if (change !== undefined && change.item.event.digest === digest) {
        change.outcomes.push(item);
        continue;
      }
    }
    out.push({ item, outcomes: [] });
  }
  return out.reverse();
}

/** Rules that somebody changed by hand, and that nobody has put right since: the newest such drift. */
export function openDrift<T extends Dated>(items: T[]): T | undefined {
  const newest = [...items].sort((a, b) => b.seq - a.seq).find(({ event }) => ['drift', 'restored', 'applied'].includes(event.kind));
  return newest?.event.kind === 'drift' ? newest : undefined;
}

/** The zones of the configuration are not those of the policy in force, and no change has come since. */
export function openUnapplied<T extends Dated>(items: T[]): T | undefined {
  const newest = [...items].sort((a, b) => b.seq - a.seq).find(({ event }) => ['unapplied', 'change'].includes(event.kind));
  return newest?.event.kind === 'unapplied' ? newest : undefined;
}

/** Dropped packets by zone and reason, as far as the entries tell. */
export function droppedOf(violations: Violation[]): Map<string, Map<string, number>> {
  const zones = new Map<string, Map<string, number>>();
  for (const { zone, reason, packets } of violations) {
    const reasons = zones.get(zone) ?? new Map<string, number>();
    reasons.set(reason, (reasons.get(reason) ?? 0) + packets);
    zones.set(zone, reasons);
  }
  return zones;
}

export interface Buckets { fromNs: bigint; widthNs: bigint; counts: [number, number, number][]; total: number }

/** Packets over time as [crossing, scan, all others]. The packets of an interval are spread over it evenly, none is lost. */
export function bucketsOf(violations: Violation[], fromNs: bigint, toNs: bigint, number: number): Buckets {
  const span = toNs > fromNs ? toNs - fromNs : 1n;
  const widthNs = span / BigInt(number) + 1n;
  const counts = Array.from({ length: number }, (): [number, number, number] => [0, 0, 0]);
  const place = (ns: bigint): number => {
    if (ns <= fromNs) return 0;
    return Math.min(number - 1, Number((ns - fromNs) / widthNs));
  };
  let total = 0;
  for (const violation of violations) {
    const first = place(violation.fromNs);
    const last = Math.max(first, place(violation.toNs));
    const column = Math.min(2, VIOLATION_KINDS.indexOf(violation.kind));
    const places = last - first + 1;
    const share = Math.floor(violation.packets / places);
    for (let i = first; i <= last; i++) {
      const bucket = counts[i];
      // What does not divide stands in the first ones, one packet each.
      if (bucket !== undefined) bucket[column] = (bucket[column] ?? 0) + share + (i - first < violation.packets - share * places ? 1 : 0);
    }
    total += violation.packets;
  }
  return { fromNs, widthNs, counts, total };
}
