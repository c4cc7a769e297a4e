// Network: the zones and flows of the running policy as a picture, who can reach what, what was dropped, and how the policy
// came to be what it is; each statement of the log with its entry and proof.
import { useEffect } from 'preact/hooks';
import type { NetworkAnswer } from '../api.js';
import * as state from '../network.js';
import { droppedOf } from '../network/entries.js';
import { useKeys } from '../keys.js';
import { go, route, routeText, session } from '../state.js';
import { formatCount } from '../time.js';
import { entryPage } from '../ui/entry_link.js';
import { Mark } from '../ui/icons.js';
import { NetworkMap } from '../ui/network_map.js';
import { Counters, Matrix, ZoneTable } from '../ui/network_tables.js';
import { PolicyHistory } from '../ui/policy_history.js';
import { Violations } from '../ui/violations.js';
import { Hostile } from '../ui/text.js';

type Tone = 'good' | 'bad' | 'open';
const STATES: Record<string, { tone: Tone; word: string; meaning: string }> = {
  none: { tone: 'open', word: 'No network policy', meaning: 'No zone names an interface, so nothing is filtered by this appliance.' },
  not_enforced: { tone: 'open', word: 'Not enforced', meaning: 'The policy is configured, but no process of this appliance applies it: the kernel drops nothing because of it.' },
  applied: { tone: 'good', word: 'Enforced', meaning: 'The policy was applied, read back and compared, and is being watched.' },
  pending: { tone: 'open', word: 'A change is waiting', meaning: 'It stands in the log and has not been applied; until then the rules before it hold.' },
  failed: { tone: 'bad', word: 'The last change failed', meaning: 'The rules before it stay in force.' },
  unknown: { tone: 'open', word: 'Not known', meaning: 'The appliance could not say whether the policy is enforced.' },
};
const DRIFT = { tone: 'bad' as Tone, word: 'The rules were changed by hand', meaning: 'They are no longer those of the policy. The entry says what differs.' };

/** The same address with some of its parameters changed. */
function move(changed: Record<string, string | null>): void {
  const now = Object.fromEntries(route.value.parameters);
  go(routeText('network', { ...now, ...changed }));
}
const onZone = (zone: string): void => move({ zone });
const onRange = (range: { last?: string; from?: string; to?: string }): void =>
  move({ last: range.last ?? null, from: range.from ?? null, to: range.to ?? null });

function Standing({ network }: { network: NetworkAnswer }) {
  const drift = state.drift.value;
  const unapplied = state.unapplied.value;
  const standing = drift !== undefined && network.guard_runs === true ? DRIFT : STATES[network.state] ?? STATES['unknown'] ?? DRIFT;
  const change = network.last?.change ?? null;
  const outcome = network.last?.outcome ?? null;
  const errors = (network.findings ?? []).filter((finding) => finding.severity === 'error').length;
  return (
    <section class={`summary ${standing.tone}`} aria-live="polite" data-state={network.state}>
      <Mark kind={standing.tone} />
      <div>
        <p class="summary-word">{standing.word}</p>
        <p class="muted">{standing.meaning}
          {drift === undefined || standing !== DRIFT ? null : <>{' '}<a href={entryPage(drift.seq)}>entry #{formatCount(drift.seq)}</a></>}
          {unapplied === undefined ? null : <>{' '}The zones of stele.toml, drawn here, are not those of the policy in force: <a href={entryPage(unapplied.seq)}>entry #{formatCount(unapplied.seq)}</a>.</>}
          {outcome?.text === undefined || network.state !== 'failed' ? null : <>{' '}<Hostile text={outcome.text} limit={300} /></>}</p>
      </div>
      <div class="claim">
        {change === null ? <p class="muted">{network.last?.complete === false ? 'the log is still being looked through' : network.limited ? 'its history is not yours to read' : 'no change of a policy is in the log'}</p> : <>
          <p><span class="muted">last change</span> <strong><Hostile text={change.who ?? 'nobody named'} limit={60} /></strong></p>
          <p class="muted"><span class="mono">{change.time.slice(0, 19).replace('T', ' ')} UTC</span> {'\u00b7'} <a href={entryPage(change.seq)}>entry #{formatCount(change.seq)}</a></p>
        </>}
        {errors === 0 ? null : <p class="bad-text">{formatCount(errors)} {errors === 1 ? 'error' : 'errors'} in the policy</p>}
      </div>
    </section>
  );
}

function Findings({ network }: { network: NetworkAnswer }) {
  const findings = network.findings ?? [];
  if (findings.length === 0) return null;
  return (
    <details class="findings" open={findings.length <= 6}>
      <summary>{formatCount(findings.length)} {findings.length === 1 ? 'finding' : 'findings'} of the check</summary>
      <ul>{findings.map((one, i) => (
        <li key={i} class={one.severity === 'warning' ? 'warning' : 'error-finding'}><span class="flag">{one.severity.replace('_', ' ')}</span><Hostile text={one.text} limit={300} />
          {one.line === undefined || one.line === 0 ? null : <span class="muted"> line {one.line}</span>}</li>))}</ul>
    </details>
  );
}

function Picture({ network, dropped }: { network: NetworkAnswer; dropped: Map<string, Map<string, number>> }) {
  const sums = new Map([...dropped].map(([zone, reasons]) => [zone, [...reasons.values()].reduce((sum, n) => sum + n, 0)] as const));
  return (
    <section class="card" aria-labelledby="picture-title">
      <div class="card-head">
        <h2 id="picture-title">Zones and flows</h2>
        <p class="muted">{network.state === 'none' || network.state === 'not_enforced' ? 'Dashed: configured, and not enforced.' : 'What is not drawn is dropped; no zone reaches another.'}
          {network.limited ? ' Only the zones of your scope are shown.' : ''} Choose a zone to see what is about it alone.</p>
      </div>
      {network.zones.length === 0 ? <div class="empty"><p><strong>No zone is in your scope.</strong></p></div>
        : <NetworkMap network={network} dropped={sums} selected={state.zone.value} onSelect={onZone} />}
      <Findings network={network} />
      {network.zones.length === 0 ? null : <details class="raw as-table"><summary>the same as a table</summary><ZoneTable network={network} /></details>}
    </section>
  );
}

/** Entries that do not verify are named here and counted nowhere. */
function FalseEntries({ count }: { count: number }) {
  return count === 0 ? null : (
    <p class="false-entries" role="alert"><Mark kind="bad" /> {formatCount(count)} {count === 1 ? 'entry' : 'entries'} behind this page {count === 1 ? 'is' : 'are'} FALSE: not what the signed log holds. They are not counted.</p>);
}

export function NetworkScreen() {
  const where = route.value;
  useEffect(() => { state.load(); }, [where]);
  useKeys({ 'r': () => state.load(true) });
  const network = state.network.value;
  const maySearch = session.value?.permissions.includes('search') ?? false;
  const falses = state.falses.value;
  const dropped = droppedOf((state.violations.value?.rows ?? []).filter((row) => !falses.has(row.seq)).map((row) => row.violation));
  return (
    <main class="screen page network" id="main" aria-busy={state.busy.value}>
      <div class="page-head">
        <h1>Network</h1>
        <button type="button" class="control" disabled={state.busy.value} onClick={() => state.load(true)}>{state.busy.value ? 'Reading' : 'Read again'} <kbd>r</kbd></button>
      </div>
      {state.networkError.value === '' ? null : <p class="error" role="alert"><Hostile text={state.networkError.value} /></p>}
      {network === null ? null : <>
        <Standing network={network} />
        <FalseEntries count={falses.size} />
        <Picture network={network} dropped={dropped} />
        {maySearch ? null : <p class="limit"><Mark kind="open" /> Your role may see the policy, but not read entries: violations and history stay empty.</p>}
        {state.entriesError.value === '' ? null : <p class="error" role="alert">Violations and history could not be read: <Hostile text={state.entriesError.value} /></p>}
        <Violations rows={state.inZone.value} zone={state.zone.value} onRange={onRange} onZone={onZone} />
        <Counters network={network} status={state.status.value} dropped={dropped} />
        <Matrix network={network} zone={state.zone.value} onZone={onZone} />
        <PolicyHistory />
      </>}
    </main>
  );
}
