// Live tail: newest at the bottom, a rule where the newest checkpoint ends, a pause nobody can miss.
import { useEffect, useRef, useState } from 'preact/hooks';
import * as live from '../live.js';
import type { RowModel } from '../rows.js';
import { useKeys } from '../keys.js';
import { copyText, go, route, routeText, rowHeight, say } from '../state.js';
import { formatCount, formatDuration } from '../time.js';
import { Drawer } from '../ui/drawer.js';
import { RowHeader, RowLine, rowId } from '../ui/row_line.js';
import { Hostile } from '../ui/text.js';
import { VirtualList } from '../ui/virtual_list.js';
import { needles as needlesOf } from '../query/builder.js';
import { lineOf } from './search_screen.js';

let inSight: RowModel[] = [];

function onRange(first: number, last: number): void {
  const rows = live.liveRows.value;
  const rule = ruleIndex(rows);
  inSight = rows.slice(rule < first ? first - 1 : first, rule < last ? last - 1 : last);
  for (const model of inSight) void model.verify();
  void live.verifyVisible(inSight);
}

/** The place of the rule among the lines: after the last row the newest checkpoint covers. */
function ruleIndex(rows: RowModel[]): number {
  const size = live.tip.value?.size;
  if (size === undefined) return -1;
  let at = rows.length;
  while (at > 0 && (rows[at - 1]?.row.seq ?? 0) >= size) at--;
  return at;
}

function Rule() {
  const size = live.tip.value?.size ?? 0;
  return (
    <div class="rule" role="row"><span role="gridcell">
      checkpoint covers up to #{formatCount(size - 1)}{live.uncovered.value > 0 ? `; ${formatCount(live.uncovered.value)} newer below` : ''}
    </span></div>
  );
}

function move(step: number): void {
  const last = live.liveRows.value.length - 1;
  if (last < 0) return;
  const at = live.liveSelected.value < 0 ? last + 1 : live.liveSelected.value;
  live.liveSelected.value = Math.min(last, Math.max(0, at + step));
  live.pause(true);
}

function StatusWord() {
  const state = live.liveState.value;
  if (live.paused.value) return <span class="live-state paused">{'\u2759\u2759'} PAUSED</span>;
  if (state === 'live') return <span class="live-state on"><i class="dot" />LIVE</span>;
  if (state === 'connecting') return <span class="live-state">connecting{'\u2026'}</span>;
  return <span class="live-state broken">{'\u25b2'} NOT CONNECTED</span>;
}

function Bar({ draft, setDraft, input }:
  { draft: string; setDraft: (text: string) => void; input: { current: HTMLInputElement | null } }) {
  const lag = live.lagMs.value;
  return (
    <form class="query-bar live-bar" onSubmit={(event) => {
      event.preventDefault();
      input.current?.blur();
      go(routeText('live', { q: draft.trim() }));
    }}>
      <input ref={input} class="query" type="text" aria-label="Query of the tail" value={draft} maxLength={2048} spellcheck={false}
        autocomplete="off" placeholder="everything   press / to filter" onInput={(event) => setDraft(event.currentTarget.value)} />
      <StatusWord />
      <button type="button" class="control" aria-pressed={live.paused.value} onClick={() => live.pause(!live.paused.value)}>
        {live.paused.value ? 'Resume' : 'Pause'} <kbd>space</kbd></button>
      <span class="group" role="group" aria-label="lines a row">
        {[1, 3, 8].map((lines) => (
          <button key={lines} type="button" class="control" aria-pressed={live.wrapLines.value === lines}
            onClick={() => { live.wrapLines.value = lines; }}>{lines}</button>
        ))}
      </span>
      <dl class="meters">
        <div><dt>rate</dt><dd>{live.ratePerSecond.value.toFixed(live.ratePerSecond.value < 10 ? 1 : 0)}/s</dd></div>
        <div><dt>lag</dt><dd>{lag === null ? '\u2013' : formatDuration(lag)}</dd></div>
        <div class={live.skipped.value > 0 ? 'emphasis' : ''}><dt>skipped</dt><dd>{formatCount(live.skipped.value)}</dd></div>
        <div><dt>not covered</dt><dd>{formatCount(live.uncovered.value)}</dd></div>
      </dl>
    </form>
  );
}

function useTail(): void {
  const where = route.value;
  const query = where.parameters.get('q') ?? '';
  useEffect(() => {
    live.startTail(query);
    return () => live.stopTail();
  }, [query]);
  useEffect(() => {
    const timer = window.setInterval(() => {
      live.measureRate();
      void live.verifyVisible(inSight);
    }, 1000);
    return () => window.clearInterval(timer);
  }, []);
}

export function LiveScreen() {
  const [draft, setDraft] = useState(route.value.parameters.get('q') ?? '');
  const input = useRef<HTMLInputElement>(null);
  useTail();
  const rows = live.liveRows.value;
  const at = live.liveSelected.value;
  const model = rows[at];
  const rule = ruleIndex(rows);
  const lineOfRow = (index: number): number => (rule >= 0 && index >= rule ? index + 1 : index);
  const needles = needlesOf(live.liveQuery.value);
  useKeys({
    '/': () => input.current?.focus(),
    ' ': () => live.pause(!live.paused.value),
    'j': () => move(1), 'k': () => move(-1), 'ArrowDown': () => move(1), 'ArrowUp': () => move(-1),
    'Enter': () => { live.liveOpened.value = model !== undefined; },
    'Escape': () => {
      if (live.liveOpened.value) live.liveOpened.value = false;
      else live.liveSelected.value = -1;
    },
    'v': () => { void live.verifyVisible(inSight, true).then(() => say('rows in sight verified')); },
    'y': () => { if (model !== undefined) void copyText(lineOf(model), 'row (escaped)'); },
  });
  const open = (index: number): void => {
    live.liveSelected.value = index;
    live.liveOpened.value = true;
    live.pause(true);
  };
  return (
    <main class={`screen live wrap-${live.wrapLines.value}`} id="main">
      <h1 class="sr-only">Live tail</h1>
      <Bar draft={draft} setDraft={setDraft} input={input} />
      {live.liveError.value === '' ? null : <p class="query-error" role="alert"><Hostile text={live.liveError.value} limit={400} /></p>}
      {live.skipped.value === 0 ? null : (
        <p class="skipped" role="status">{'\u25b2'} {formatCount(live.skipped.value)} records were skipped by this tail: it was too slow, or they cannot be read. Search shows what the log has.</p>
      )}
      <div class="columns no-facets">
        <section class="results" aria-label="Live events">
          <RowHeader />
          {rows.length === 0 ? <p class="empty">{live.liveState.value === 'live' ? 'Connected. New records appear here.' : ''}</p> : (
            <VirtualList count={rows.length + (rule >= 0 ? 1 : 0)} of={rows} rowHeight={rowHeight() * live.wrapLines.value} label="Live events"
              follow={!live.paused.value} onAway={() => live.pause(true)} onRange={onRange}
              {...(at >= 0 ? { active: lineOfRow(at) } : {})} activeId={model === undefined ? undefined : rowId(model)}
              row={(line) => {
                if (line === rule) return <Rule key="rule" />;
                const index = rule >= 0 && line > rule ? line - 1 : line;
                const item = rows[index];
                return item === undefined ? null : (
                  <RowLine key={item.row.seq} model={item} index={index} selected={index === at} needles={needles} onOpen={open} />
                );
              }} />
          )}
          {!live.paused.value ? null : (
            <button type="button" class="pause-banner" onClick={() => live.pause(false)}>
              <strong>PAUSED</strong> {'\u2014'} {formatCount(live.pendingCount.value)} new {'\u2014'} press space to resume
            </button>
          )}
        </section>
        {model === undefined || !live.liveOpened.value ? null : (
          <Drawer key={model.row.seq} model={model} size={null} query="" needles={needles}
            permalink={`${location.origin}/${routeText('search', { q: `seq:${model.row.seq}`, last: 'all', event: String(model.row.seq) })}`}
            onClose={() => { live.liveOpened.value = false; }} />
        )}
      </div>
    </main>
  );
}
