// Packets that the policy dropped: over time, by reason, and entry by entry.
import { useCallback, useMemo, useState } from 'preact/hooks';
import { type ViolationRow, VIOLATIONS_MAX, falses, ran, violations } from '../network.js';
import { VIOLATION_KINDS, type Violation, type ViolationKind, bucketsOf } from '../network/entries.js';
import { PRESETS, formatCount, formatNs } from '../time.js';
import { EntryLink } from './entry_link.js';
import { Histogram, type HistogramNames } from './histogram.js';
import { Hostile } from './text.js';

const BUCKETS = 120;
const PAGE = 25;
const NAMES: HistogramNames = { of: 'Dropped packets', short: ['crossing', 'scan', 'other'], long: ['of crossings', 'of scans', 'others'] };
const SHOWN_PRESETS = PRESETS.filter(({ id }) => ['1h', '24h', '7d', '30d', 'all'].includes(id));
const KIND_SIGNS: Record<ViolationKind, string> = { crossing: '\u25a0', scan: '\u25b2', violation: '\u25cb', uncounted: '\u25cc' };

export function ViolationSign({ kind }: { kind: ViolationKind }) {
  return <span class={`violation-kind ${kind}`}><span aria-hidden="true">{KIND_SIGNS[kind]}</span> {kind}</span>;
}

function spanOf(rows: ViolationRow[]): { from: bigint; to: bigint } {
  const range = ran.value?.range;
  const bound = (iso: string | null | undefined, open: bigint): bigint => {
    const ms = iso === null || iso === undefined ? NaN : Date.parse(iso);
    return Number.isNaN(ms) ? open : BigInt(ms) * 1_000_000n;
  };
  const first = rows.reduce((least, { violation }) => (violation.fromNs < least ? violation.fromNs : least), rows[0]?.violation.fromNs ?? 0n);
  const last = rows.reduce((most, { violation }) => (violation.toNs > most ? violation.toNs : most), 0n);
  return { from: bound(range?.from, first), to: bound(range?.to, last + 1n) };
}

function Chart({ rows, onZoom }: { rows: ViolationRow[]; onZoom: (from: string, to: string) => void }) {
  const answer = useMemo(() => {
    const { from, to } = spanOf(rows);
    const buckets = bucketsOf(rows.map((row) => row.violation), from, to, BUCKETS);
    return { bucket_ns: String(buckets.widthNs), from_ns: String(from), to_ns: String(to), buckets: buckets.counts };
  }, [rows]);
  return <Histogram answer={answer} names={NAMES} onZoom={onZoom} />;
}

const portOf = ({ protocol, port }: Violation): string => `${protocol}${port === null ? '' : `/${port}`}`;

function Line({ row }: { row: ViolationRow }) {
  const { violation, model } = row;
  return (
    <tr data-kind={violation.kind} class={model.verdict.value?.state === 'false' ? 'bad' : ''}>
      <td class="proof"><EntryLink model={model} /></td>
      <td><ViolationSign kind={violation.kind} /></td>
      <td class="short"><Hostile text={violation.zone} limit={40} /></td>
      <td class="mono"><Hostile text={violation.source} limit={60} /></td>
      <td class="mono short"><Hostile text={violation.destination} limit={60} />{violation.target === '' ? null : <span class="flag target"><Hostile text={violation.target} limit={40} /></span>}</td>
      <td class="mono short"><Hostile text={violation.detail === '' ? portOf(violation) : violation.detail} limit={60} /></td>
      <td><Hostile text={violation.reason} limit={40} /></td>
      <td class="number mono">{formatCount(violation.packets)}</td>
      <td class="mono time">{formatNs(violation.fromNs).slice(0, 19)}</td>
      <td class="mono time">{formatNs(violation.toNs).slice(0, 19)}</td>
    </tr>
  );
}

function Summary({ rows, more }: { rows: ViolationRow[]; more: boolean }) {
  const sum = (list: ViolationRow[]): number => list.reduce((total, row) => total + row.violation.packets, 0);
  return (
    <p class="caption-line">
      <span><strong>{formatCount(sum(rows))}</strong> packets in <strong>{formatCount(rows.length)}</strong> {rows.length === 1 ? 'entry' : 'entries'}</span>
      {VIOLATION_KINDS.map((kind) => {
        const mine = rows.filter((row) => row.violation.kind === kind);
        return mine.length === 0 ? null : <span key={kind} class="of-kind"><ViolationSign kind={kind} /> {formatCount(sum(mine))}</span>;
      })}
      {more ? <span class="emphasis">the newest {formatCount(VIOLATIONS_MAX)} entries only: narrow the range for the rest</span> : null}
    </p>
  );
}

export function Violations({ rows, zone, onRange, onZone }: {
  rows: ViolationRow[]; zone: string; onRange: (parameters: { last?: string; from?: string; to?: string }) => void; onZone: (zone: string) => void }) {
  const [shown, setShown] = useState(PAGE);
  const onZoom = useCallback((from: string, to: string) => onRange({ from, to }), [onRange]);
  const listing = violations.value;
  const preset = ran.value?.preset ?? '';
  const bad = falses.value;
  const good = useMemo(() => rows.filter((row) => !bad.has(row.seq)), [rows, bad]);
  const listed = [...rows.filter((row) => bad.has(row.seq)), ...good];       // what is not to be believed comes first, and is counted nowhere
  return (
    <section class="card" aria-labelledby="violations-title">
      <div class="card-head">
        <h2 id="violations-title">Violations</h2>
        {zone === '' ? null : <button type="button" class="small" onClick={() => onZone('')}>zone <Hostile text={zone} limit={40} /> {'\u2715'}</button>}
        <span class="group" role="group" aria-label="Time range">
          {SHOWN_PRESETS.map(({ id, label }) => (
            <button key={id} type="button" class="control" aria-pressed={preset === id} onClick={() => onRange({ last: id })}>{label}</button>))}
          {preset !== '' ? null : <button type="button" class="control" aria-pressed>Selected range</button>}
        </span>
      </div>
      {listing === null ? <p class="muted">Reading{'\u2026'}</p> : rows.length === 0 ? (
        <div class="empty">
          <p><strong>No violation is in the log{zone === '' ? '' : ' for this zone'}</strong> in this range.</p>
          <p>Dropped packets become entries only while the policy is enforced and its watcher runs; how it stands is said at the top.</p>
        </div>
      ) : <>
        <Summary rows={good} more={listing.more} />
        <Chart rows={good} onZoom={onZoom} />
        <table class="table violations">
          <thead><tr><th>Entry</th><th>What</th><th>Zone</th><th>Source</th><th>Destination</th><th>Port</th><th>Reason</th>
            <th class="number">Packets</th><th>First (UTC)</th><th>Last (UTC)</th></tr></thead>
          <tbody>{listed.slice(0, shown).map((row) => <Line key={row.seq} row={row} />)}</tbody>
        </table>
        {rows.length <= shown ? null : (
          <p class="more"><button type="button" class="small" onClick={() => setShown(shown + PAGE)}>Show more</button>
            <span class="muted">{formatCount(shown)} of {formatCount(rows.length)}</span></p>)}
      </>}
      {listing === null || listing.unread === 0 ? null : (
        <p class="emphasis">{'\u25b2'} {formatCount(listing.unread)} entries could not be understood and are not counted here.</p>)}
    </section>
  );
}
