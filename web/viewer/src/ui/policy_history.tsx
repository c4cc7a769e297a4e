// What happened to the policy: every change with its reasons, its approvals and its outcome; drift and its repair.
import { useState } from 'preact/hooks';
import { type EventRow, HISTORY_MAX, completeEvent, events, history } from '../network.js';
import type { DiffLine, EventKind, HistoryItem } from '../network/entries.js';
import { formatCount, formatNs } from '../time.js';
import { EntryLink } from './entry_link.js';
import { Hostile } from './text.js';

const PAGE = 20;
const DIFF_LINES = 40;
const OUTCOMES = 4;
const SIGNS: Record<DiffLine['sign'], string> = { opens: '+', closes: '\u2212', other: '\u00b7' };
const WORDS: Record<EventKind, { sign: string; word: string }> = {
  change: { sign: '\u25c6', word: 'change' },
  applied: { sign: '\u2714', word: 'applied' },
  failed: { sign: '\u2716', word: 'failed: the older rules stay' },
  drift: { sign: '\u25b2', word: 'drift: the rules were changed by hand' },
  restored: { sign: '\u21ba', word: 'restored' },
  unapplied: { sign: '\u25b3', word: 'not applied: stele.toml says otherwise than the policy in force' },
};

function EventWord({ kind }: { kind: EventKind }) {
  return <span class={`event-word ${kind}`}><span aria-hidden="true">{WORDS[kind].sign}</span> {WORDS[kind].word}</span>;
}

function Lines({ lines }: { lines: DiffLine[] }) {
  const [all, setAll] = useState(false);
  if (lines.length === 0) return null;
  const shown = all ? lines : lines.slice(0, DIFF_LINES);
  return <>
    <ul class="diff">
      {shown.map((line, i) => (
        <li key={i} class={line.sign}><span class="diff-sign" aria-hidden="true">{SIGNS[line.sign]}</span>
          {line.sign === 'other' ? null : <span class="diff-word">{line.sign} </span>}<Hostile text={line.text} limit={400} /></li>))}
    </ul>
    {lines.length <= shown.length ? null : <button type="button" class="small" onClick={() => setAll(true)}>Show all {formatCount(lines.length)} lines</button>}
  </>;
}

function Approvals({ row }: { row: EventRow }) {
  const { approvals, forced } = row.event;
  if (approvals.length === 0 && !forced) return null;
  return (
    <p class="approvals">
      {forced ? <span class="flag">forced</span> : null}
      {approvals.length === 0 ? null : <>approved by {approvals.map((one, i) => (
        <span key={i}>{i > 0 ? ', ' : ''}<strong><Hostile text={one.name === '' ? 'nobody named' : one.name} limit={60} /></strong>
          {one.key === '' ? null : <span class="mono key"> <Hostile text={one.key} limit={20} /></span>}</span>))}</>}
    </p>
  );
}

/** What became of it at first, and the newest of what each start said since. */
const shownOutcomes = (outcomes: EventRow[]): EventRow[] =>
  (outcomes.length <= OUTCOMES ? outcomes : [...outcomes.slice(0, 1), ...outcomes.slice(1 - OUTCOMES)]);

function Item({ entry }: { entry: HistoryItem<EventRow> }) {
  const row = entry.item;
  const { event, model } = row;
  const bad = model.verdict.value?.state === 'false';
  return (
    <li class={`event ${event.kind} ${bad ? 'false' : ''}`} data-event={event.kind}>
      <div class="event-head">
        <EventWord kind={event.kind} />
        <span class="mono when">{formatNs(model.row.time_ns).slice(0, 19)} UTC</span>
        <EntryLink model={model} />
        {event.digest === '' ? null : <span class="mono digest" title={/^[0-9a-z:]+$/i.test(event.digest) ? event.digest : undefined}>policy <Hostile text={event.digest} limit={12} /></span>}
      </div>
      {event.who === '' && event.why === '' && event.actor === '' ? null : (
        <p class="reason">
          {event.who === '' ? null : <strong><Hostile text={event.who} limit={80} /></strong>}
          {event.actor === '' ? null : <span>by <Hostile text={event.actor} limit={80} /></span>}
          {event.why === '' ? null : <span>{'\u201c'}<Hostile text={event.why} limit={400} />{'\u201d'}</span>}
        </p>)}
      {event.text === '' ? null : <p><Hostile text={event.text} limit={600} /></p>}
      <Lines lines={event.lines} />
      {row.whole ? null : <p><button type="button" class="small" onClick={() => void completeEvent(row)}>Read this entry in full</button></p>}
      <Approvals row={row} />
      {event.policy === '' ? null : (
        <details class="raw"><summary>the policy as proposed</summary><pre><Hostile text={event.policy} breaks limit={40_000} /></pre></details>)}
      {entry.outcomes.length === 0 ? null : (
        <ul class="outcomes">
          {shownOutcomes(entry.outcomes).map((one) => (
            <li key={one.seq}><EventWord kind={one.event.kind} />{one.event.atStart ? <span class="muted">again, at a start</span> : null} <span class="mono when">{formatNs(one.model.row.time_ns).slice(0, 19)} UTC</span> <EntryLink model={one.model} />
              {one.event.text === '' ? null : <span class="bad-text"> <Hostile text={one.event.text} limit={600} /></span>}</li>))}
          {entry.outcomes.length <= OUTCOMES ? null : <li class="muted">{formatCount(entry.outcomes.length - OUTCOMES)} more at further starts</li>}
        </ul>)}
      {event.kind !== 'change' || entry.outcomes.length > 0 ? null : <p class="muted">No entry says what became of it.</p>}
    </li>
  );
}

export function PolicyHistory() {
  const [shown, setShown] = useState(PAGE);
  const listing = events.value;
  const items = history.value;
  return (
    <section class="card" aria-labelledby="history-title">
      <h2 id="history-title">Policy history</h2>
      {listing === null ? <p class="muted">Reading{'\u2026'}</p> : items.length === 0
        ? <div class="empty"><p><strong>The log holds no change of a policy</strong> that you may read.</p></div>
        : <ol class="history">{items.slice(0, shown).map((entry) => <Item key={entry.item.seq} entry={entry} />)}</ol>}
      {items.length <= shown && listing?.more !== true ? null : (
        <p class="more">
          {items.length <= shown ? null : <button type="button" class="small" onClick={() => setShown(shown + PAGE)}>Show more</button>}
          {listing?.more === true ? <span class="emphasis">the newest {formatCount(HISTORY_MAX)} entries only</span> : null}
        </p>)}
    </section>
  );
}
