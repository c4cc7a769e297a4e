// The network as tables: zones (the picture in words), counters, and the matrix with its filter.
import { useState } from 'preact/hooks';
import type { NetworkAnswer, NetworkReach, NetworkZone, StatusAnswer } from '../api.js';
import { formatCount } from '../time.js';
import { Hostile } from './text.js';

const LIST_SHOWN = 4;
const MATRIX_SHOWN = 300;

function List({ items, total = items.length, none }: { items: string[]; total?: number; none: string }) {
  const [all, setAll] = useState(false);
  if (items.length === 0) return <span class="muted">{none}</span>;
  const shown = all ? items : items.slice(0, LIST_SHOWN);
  return (
    <span class="list-cell">
      {shown.map((item, i) => <Hostile key={i} text={item} limit={80} />)}
      {shown.length < items.length ? <button type="button" class="mini more-mini" onClick={() => setAll(true)}>+{formatCount(total - shown.length)}<span class="sr-only"> more</span></button>
        : total > shown.length ? <span class="muted">+{formatCount(total - shown.length)}</span> : null}
    </span>
  );
}

function limitsOf({ limits }: NetworkZone): string[] {
  if (limits === undefined) return [];
  const out: string[] = [];
  if (limits.connections !== undefined) out.push(`${formatCount(limits.connections)} connections`);
  if (limits.connections_per_s !== undefined) out.push(`${formatCount(limits.connections_per_s)} new/s`);
  if (limits.datagrams_per_s !== undefined && limits.datagrams_per_s > 0) out.push(`${formatCount(limits.datagrams_per_s)} datagrams/s`);
  return out;
}

export function ZoneTable({ network }: { network: NetworkAnswer }) {
  return (
    <table class="table zones">
      <thead><tr><th>Zone</th><th>Kind</th><th>Interface</th><th>May send</th><th>To</th><th>Listens</th><th>Flows out</th><th>Of each source</th></tr></thead>
      <tbody>
        {network.zones.map((zone) => (
          <tr key={zone.name}>
            <th scope="row"><Hostile text={zone.name} limit={40} /></th>
            <td>{zone.kind ?? ''}</td>
            <td class="mono">{zone.interface === undefined || zone.interface === '' ? <span class="muted">none</span> : <Hostile text={zone.interface} limit={20} />}</td>
            <td class="mono"><List items={zone.sources ?? []} total={zone.sources_total ?? zone.sources?.length ?? 0} none={zone.cut === true ? 'too long to show' : 'any address'} /></td>
            <td class="mono"><List items={zone.addresses ?? []} none={'\u2013'} /></td>
            <td class="mono"><List items={(zone.doors ?? []).map((d) => `${d.protocol}/${d.port} ${d.service}`)} none={'\u2013'} /></td>
            <td class="mono"><List items={(zone.flows ?? []).map((f) => `${f.name}: ${(f.destinations ?? []).join(' ')} ${(f.ports ?? []).join(' ')}`)} none={'\u2013'} /></td>
            <td><List items={limitsOf(zone)} none={'\u2013'} /></td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

/** What the receivers count, and beside it what the entries say was dropped before it reached them. */
export function Counters({ network, status, dropped }: { network: NetworkAnswer; status: StatusAnswer | null; dropped: Map<string, Map<string, number>> }) {
  const known = new Set(network.zones.map((zone) => zone.name));
  const elsewhere = [...dropped.keys()].filter((name) => !known.has(name));
  const rows = [...network.zones.map((zone) => zone.name), ...elsewhere];
  return (
    <section class="card" aria-labelledby="counters-title">
      <h2 id="counters-title">Counters</h2>
      <p class="muted">Records, losses and connections: since the appliance started. Dropped packets: what the entries of the range above tell.</p>
      <table class="table counters">
        <thead><tr><th>Zone</th><th class="number">Received</th><th class="number">Stored</th><th class="number">Lost, counted</th><th class="number">Refused</th>
          <th class="number">Connections</th><th class="number">Sources</th><th class="number">Packets dropped</th><th>By reason</th></tr></thead>
        <tbody>
          {rows.map((name) => {
            const counted = status?.zones?.find((one) => one.name === name);
            const reasons = [...(dropped.get(name) ?? new Map<string, number>())].sort((a, b) => b[1] - a[1]);
            const number = (value: number | undefined): string => (value === undefined ? '\u2013' : formatCount(value));
            return (
              <tr key={name}>
                <th scope="row">{name === '' ? <span class="muted">no zone</span> : <Hostile text={name} limit={40} />}</th>
                <td class="number mono">{number(counted?.received)}</td><td class="number mono">{number(counted?.stored)}</td>
                <td class={`number mono ${(counted?.lost ?? 0) > 0 || (counted?.unknown_losses ?? 0) > 0 ? 'emphasis' : ''}`}>
                  {number(counted?.lost)}{(counted?.unknown_losses ?? 0) > 0 ? ` + ${formatCount(counted?.unknown_losses ?? 0)} unknown` : ''}</td>
                <td class="number mono">{number(counted?.refused)}</td><td class="number mono">{number(counted?.connections)}</td>
                <td class="number mono">{number(counted?.sources)}</td>
                <td class="number mono">{formatCount(reasons.reduce((sum, [, n]) => sum + n, 0))}</td>
                <td class="reasons">{reasons.map(([reason, n]) => (
                  <span key={reason} class="reason-chip"><Hostile text={reason === '' ? 'no reason given' : reason} limit={30} /> {formatCount(n)}</span>))}</td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </section>
  );
}

const WAYS: Record<NetworkReach['direction'], { sign: string; word: string }> = {
  in: { sign: '\u2192', word: 'may reach' }, echo: { sign: '\u2192', word: 'may ping' }, out: { sign: '\u2190', word: 'is reached from' } };

export function Matrix({ network, zone, onZone }: { network: NetworkAnswer; zone: string; onZone: (zone: string) => void }) {
  const [protocol, setProtocol] = useState('');
  const [port, setPort] = useState('');
  const protocols = [...new Set(network.reach.map((row) => row.protocol))].sort();
  const rows = network.reach.filter((row) =>
    (zone === '' || row.zone === zone) && (protocol === '' || row.protocol === protocol) && (port === '' || String(row.port ?? '') === port.trim()));
  const total = network.reach_total ?? network.reach.length;
  return (
    <section class="card" aria-labelledby="matrix-title">
      <div class="card-head">
        <h2 id="matrix-title">Who can reach what</h2>
        <form class="matrix-filter" role="search" aria-label="Filter of the matrix" onSubmit={(event) => event.preventDefault()}>
          <label>Zone <select class="control" value={zone} onChange={(event) => onZone(event.currentTarget.value)}>
            <option value="">all</option>{network.zones.map((one) => <option key={one.name} value={one.name}>{one.name}</option>)}</select></label>
          <label>Protocol <select class="control" value={protocol} onChange={(event) => setProtocol(event.currentTarget.value)}>
            <option value="">all</option>{protocols.map((one) => <option key={one} value={one}>{one}</option>)}</select></label>
          <label>Port <input type="text" class="port" inputMode="numeric" maxLength={5} value={port} placeholder="any" spellcheck={false}
            onInput={(event) => setPort(event.currentTarget.value)} /></label>
          <span class="muted" role="status">{formatCount(rows.length)} of {formatCount(total)}</span>
        </form>
      </div>
      {network.reach.length === 0 ? (
        <div class="empty"><p><strong>There is no matrix</strong>{network.configured ? ' for what you may see.' : ': without a policy nothing is filtered here, and every listener can be reached by whoever the network lets through.'}</p></div>
      ) : <>
        <table class="table matrix">
          <thead><tr><th>Zone</th><th>Interface</th><th>Hosts</th><th>Way</th><th>Address</th><th>Port</th><th>Service</th><th>Process</th></tr></thead>
          <tbody>
            {rows.slice(0, MATRIX_SHOWN).map((row, i) => (
              <tr key={i} data-zone={row.zone}>
                <td><Hostile text={row.zone} limit={40} /></td><td class="mono"><Hostile text={row.interface} limit={20} /></td>
                <td class="mono"><List items={row.peers} total={row.peers_total ?? row.peers.length} none={'\u2013'} /></td>
                <td><span aria-hidden="true">{WAYS[row.direction]?.sign ?? ''}</span><span class="sr-only">{WAYS[row.direction]?.word ?? row.direction}</span></td>
                <td class="mono"><Hostile text={row.address ?? '\u2013'} limit={60} /></td>
                <td class="mono">{row.protocol}{row.port === undefined ? '' : `/${row.port}`}</td>
                <td><Hostile text={row.service} limit={40} /></td><td><Hostile text={row.process ?? 'kernel'} limit={60} /></td>
              </tr>
            ))}
          </tbody>
        </table>
        {rows.length === 0 ? <p class="empty">No field of the matrix is like that: it is dropped.</p> : null}
        {rows.length > MATRIX_SHOWN ? <p class="muted">{formatCount(MATRIX_SHOWN)} of {formatCount(rows.length)} are shown: use the filter.</p> : null}
        {total > network.reach.length ? <p class="emphasis">The matrix has {formatCount(total)} fields; {formatCount(network.reach.length)} came. All of them: <code>stele policy check</code>.</p> : null}
        <p class="muted">What is not named is dropped, in and out. Nothing is ever forwarded from one zone to another.</p>
      </>}
    </section>
  );
}
