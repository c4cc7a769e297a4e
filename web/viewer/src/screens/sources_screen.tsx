// Who has sent what: one line a source, each of them first seen in an entry of the log.
import { useEffect, useState } from 'preact/hooks';
import { type Source, type StatusAnswer, api } from '../api.js';
import { go, now, routeText } from '../state.js';
import { formatBytes, formatCount, formatDuration } from '../time.js';
import { Hostile } from '../ui/text.js';

type Order = 'last_time' | 'events' | 'listener' | 'peer';

const UNAUTHENTICATED = new Set(['udp', 'tcp']);
const QUIET_MS = 3_600_000;

function compare(order: Order): (a: Source, b: Source) => number {
  if (order === 'events') return (a, b) => b.events - a.events;
  if (order === 'last_time') return (a, b) => (a.last_time < b.last_time ? 1 : a.last_time > b.last_time ? -1 : b.events - a.events);
  return (a, b) => (a[order] < b[order] ? -1 : a[order] > b[order] ? 1 : 0);
}

function age(time: string): number {
  const at = Date.parse(time);
  return Number.isNaN(at) ? NaN : Math.max(0, now.value - at);
}

/** How far the source's clock is off; what names no time zone is only good within the hour. */
function skewText(source: Source): string {
  if (source.skew_ms === undefined) return '';
  const off = Math.abs(source.skew_ms);
  const text = off < 2000 ? 'right' : `${formatDuration(off)} ${source.skew_ms < 0 ? 'behind' : 'ahead'}`;
  return source.skew_zone_known === false ? `${text} (no zone)` : text;
}

function rateText(source: Source): string {
  const gaps = source.gaps === undefined || source.gaps === 0 ? '' : `, ${formatCount(source.gaps)} ${source.gaps === 1 ? 'gap' : 'gaps'}`;
  return source.rate_per_minute === undefined ? '' : `${formatCount(source.rate_per_minute)}/min${gaps}`;
}

function SourceRow({ source }: { source: Source }) {
  const quiet = age(source.last_time);
  const silent = source.silent ?? !(quiet < QUIET_MS);     // the ledger knows the source's habit
  return (
    <tr>
      <td class="number">{source.id}</td>
      <td><Hostile text={source.listener} limit={60} /></td>
      <td><Hostile text={source.transport} limit={20} />{UNAUTHENTICATED.has(source.transport)
        ? <span class="faint"> (unauthenticated)</span> : null}</td>
      <td class="mono">{source.name === undefined ? null : <><Hostile text={source.name} limit={64} />{' '}</>}
        <Hostile text={source.peer} limit={60} />{source.identity?.cn === undefined ? null : <>{' '}<Hostile text={source.identity.cn} limit={60} /></>}</td>
      <td><Hostile text={source.zone} limit={30} /></td>
      <td class="mono">{source.first_time.slice(0, 19).replace('T', ' ')}</td>
      <td class="mono" title={source.last_time}>{Number.isNaN(quiet) ? '?' : formatDuration(quiet)} ago</td>
      <td class="number mono">{formatCount(source.events)}</td>
      <td class="mono">{rateText(source)}</td>
      <td class="mono">{skewText(source)}</td>
      <td>{silent ? <span class="state silent">{'\u25b2'} {source.silent === true ? 'silent' : 'quiet'}</span> : <span class="state ok">{'\u25cf'} active</span>}</td>
      <td><button type="button" class="small" onClick={() => go(routeText('search', { q: `peer:"${source.peer}"`, last: 'all' }))}>Search</button></td>
    </tr>
  );
}

/** What the appliance does not say is left out. */
function storeText(store: NonNullable<StatusAnswer['store']>): string {
  const parts = [`${formatCount(store.segments)} ${store.segments === 1 ? 'segment' : 'segments'}`];
  if (store.bytes !== undefined) parts.push(formatBytes(store.bytes));
  if (store.free_bytes !== undefined) parts.push(`${formatBytes(store.free_bytes)} free`);
  return parts.join(', ');
}

function Listeners({ status }: { status: StatusAnswer }) {
  const listeners = status.listeners ?? [];
  if (listeners.length === 0) return null;
  const zoned = new Set(listeners.map((l) => l.zone)).size > 1;   // names repeat from zone to zone
  return (
    <section class="card">
      <h2>Listeners</h2>
      <table class="table">
        <thead><tr>{zoned && <th>Zone</th>}<th>Name</th><th>Transport</th><th>Address</th><th class="number">Received</th><th class="number">Stored</th>
          <th class="number">Lost, counted</th><th class="number">Refused</th></tr></thead>
        <tbody>
          {listeners.map((l) => (
            <tr key={`${l.zone ?? ''}/${l.name}`}>
              {zoned && <td><Hostile text={l.zone ?? ''} limit={60} /></td>}
              <td><Hostile text={l.name} limit={60} /></td><td><Hostile text={l.transport} limit={20} /></td>
              <td class="mono"><Hostile text={l.address} limit={60} /></td>
              <td class="number mono">{formatCount(l.received)}</td><td class="number mono">{formatCount(l.stored)}</td>
              <td class={`number mono ${(l.lost ?? 1) > 0 ? 'emphasis' : ''}`}>{l.lost === null ? 'unknown' : formatCount(l.lost)}</td>
              <td class="number mono">{formatCount(l.refused)}</td>
            </tr>
          ))}
        </tbody>
      </table>
      {status.store === undefined ? null : (
        <p class="muted store">Store: {storeText(status.store)}.</p>
      )}
    </section>
  );
}

export function SourcesScreen() {
  const [sources, setSources] = useState<Source[] | null>(null);
  const [status, setStatus] = useState<StatusAnswer | null>(null);
  const [error, setError] = useState('');
  const [order, setOrder] = useState<Order>('last_time');
  useEffect(() => {
    api.sources().then((answer) => setSources(answer.sources)).catch((e: unknown) => setError(e instanceof Error ? e.message : String(e)));
    api.status().then(setStatus).catch(() => setStatus(null));       // the table stands without it
  }, []);
  const header = (name: Order, label: string, number = false) => (
    <th class={number ? 'number' : ''} aria-sort={order === name ? 'descending' : 'none'}>
      <button type="button" class="sort" onClick={() => setOrder(name)}>{label}{order === name ? ' \u25be' : ''}</button>
    </th>
  );
  return (
    <main class="screen page" id="main">
      <h1 class="sr-only">Sources</h1>
      {error === '' ? null : <p class="error" role="alert"><Hostile text={error} /></p>}
      {status === null ? null : <Listeners status={status} />}
      <section class="card">
        <h2>Sources {sources === null ? '' : `(${formatCount(sources.length)})`}</h2>
        <p class="muted">A source is a peer at a listener, as seen on the wire; the first sight of each is an entry of the log. Over UDP and plain TCP the address is what the network claims.</p>
        <table class="table">
          <thead><tr><th class="number">Id</th>{header('listener', 'Listener')}<th>Transport</th>{header('peer', 'Peer')}<th>Zone</th>
            <th>First seen (UTC)</th>{header('last_time', 'Last seen')}{header('events', 'Events', true)}<th>Rate</th><th>Clock</th><th>State</th><th /></tr></thead>
          <tbody>{[...(sources ?? [])].sort(compare(order)).slice(0, 2000).map((s) => <SourceRow key={s.id} source={s} />)}</tbody>
        </table>
        {sources !== null && sources.length === 0 ? <p class="empty">No source has sent anything yet.</p> : null}
        {(sources?.length ?? 0) > 2000 ? <p class="muted">2,000 of {formatCount(sources?.length ?? 0)} are shown.</p> : null}
      </section>
    </main>
  );
}
