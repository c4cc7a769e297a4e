// Search: newest first, each row in sight verified as it comes.
import { useEffect, useRef, useState } from 'preact/hooks';
import * as search from '../search.js';
import { type RowModel } from '../rows.js';
import { useKeys } from '../keys.js';
import { compact, copyText, histogramOpen, route, rowHeight, say } from '../state.js';
import { formatCount } from '../time.js';
import { formatNs } from '../time.js';
import { plainText } from '../text/escape.js';
import { toggleFilter } from '../query/builder.js';
import { Drawer } from '../ui/drawer.js';
import { QueryEvidence, mayTakeBundles } from '../ui/evidence.js';
import { Facets } from '../ui/facets.js';
import { Histogram } from '../ui/histogram.js';
import { RowHeader, RowLine, rowId } from '../ui/row_line.js';
import { Hostile } from '../ui/text.js';
import { TimePicker } from '../ui/time_picker.js';
import { VirtualList } from '../ui/virtual_list.js';

const onZoom = (from: string, to: string): void => search.zoom(from, to);

function onQuery(query: string): void {
  search.draft.value = query;
  search.submit();
}

/** Rows that come into sight are verified; near the end the next page is fetched. */
function onRange(first: number, last: number): void {
  const rows = search.listed.value;
  for (const model of rows.slice(first, last)) void model.verify();
  if (search.context.value === null && last >= rows.length - 40) void search.loadMore();
}

export function lineOf(model: RowModel): string {
  const { row } = model;
  return `${formatNs(row.time_ns)} ${row.host ?? row.peer ?? ''} ${row.app ?? row.kind}: ${plainText(model.message)}`;
}

function move(step: number): void {
  search.stray.value = null;
  const last = search.listed.value.length - 1;
  if (last < 0) return;
  search.selected.value = Math.min(last, Math.max(0, search.selected.value + step));
}

function jump(step: 1 | -1, wanted: (severity: number) => boolean): void {
  const rows = search.listed.value;
  for (let i = search.selected.value + step; i >= 0 && i < rows.length; i += step) {
    const severity = rows[i]?.row.severity;
    if (severity !== undefined && wanted(severity)) {
      search.selected.value = i;
      return;
    }
  }
  say('no further one among the loaded rows');
}

const current = (): RowModel | undefined => search.stray.value ?? search.listed.value[search.selected.value];

function togglePin(): void {
  const model = current();
  if (model === undefined) return;
  const pins = search.pins.value;
  search.pins.value = pins.some((p) => p.row.seq === model.row.seq)
    ? pins.filter((p) => p.row.seq !== model.row.seq) : [...pins, model].slice(-50);
}

function showPin(model: RowModel): void {
  const at = search.listed.value.findIndex((m) => m.row.seq === model.row.seq);
  if (at < 0) return say('this row is not in the present list');
  search.selected.value = at;
  search.opened.value = true;
}

function useSearchKeys(focusQuery: () => void): void {
  const page = 20;
  useKeys({
    '/': focusQuery,
    'j': () => move(1), 'k': () => move(-1), 'ArrowDown': () => move(1), 'ArrowUp': () => move(-1),
    'PageDown': () => move(page), 'PageUp': () => move(-page), 'Home': () => move(-search.ROWS_MAX), 'End': () => move(search.ROWS_MAX),
    'Enter': () => { search.opened.value = current() !== undefined; },
    'Escape': () => {
      if (search.opened.value) search.opened.value = false;
      else if (search.context.value !== null) search.closeContext();
    },
    'c': () => { const model = current(); if (model !== undefined) search.openContext(model); },
    'v': () => {
      search.opened.value = current() !== undefined;
      void current()?.again().then(() => say('verified again'));
    },
    'p': togglePin,
    'y': () => { const model = current(); if (model !== undefined) void copyText(lineOf(model), 'row (escaped)'); },
    'Y': () => void copyText(search.permalink(search.opened.value ? current()?.row.seq ?? null : null), 'permalink'),
    '[': () => search.moveWindow(-0.5, 1), ']': () => search.moveWindow(0.5, 1),
    '+': () => search.moveWindow(0, 0.5), '=': () => search.moveWindow(0, 0.5), '-': () => search.moveWindow(0, 2),
    'e': () => jump(1, (s) => s <= 3), 'E': () => jump(-1, (s) => s <= 3),
    'w': () => jump(1, (s) => s === 4), 'W': () => jump(-1, (s) => s === 4),
  });
}

function QueryError() {
  const error = search.searchError.value;
  if (error === null) return null;
  return (
    <p class="query-error" role="alert" id="query-error">
      {error.column === null ? null : <span class="column">column {error.column}</span>}
      <Hostile text={error.message} limit={400} />
    </p>
  );
}

function QueryBar({ input }: { input: { current: HTMLInputElement | null } }) {
  const failed = search.searchError.value?.code === 'bad_query';
  return (
    <form class="query-bar" role="search" onSubmit={(event) => {
      event.preventDefault();
      input.current?.blur();
      search.submit();
    }}>
      <input ref={input} class="query" type="text" value={search.draft.value} aria-label="Query" aria-invalid={failed}
        aria-describedby={search.searchError.value === null ? undefined : 'query-error'} spellcheck={false} autocomplete="off"
        maxLength={2048} placeholder={'denied tcp host:fw1 severity<=warning "exact phrase" 10.0.0.0/8   press / to write'}
        onInput={(event) => { search.draft.value = event.currentTarget.value; }} />
      <TimePicker />
      <span class="group">
        <button type="button" class="control" aria-label="earlier" title="earlier  [" onClick={() => search.moveWindow(-0.5, 1)}>{'\u2039'}</button>
        <button type="button" class="control" aria-label="later" title="later  ]" onClick={() => search.moveWindow(0.5, 1)}>{'\u203a'}</button>
      </span>
      <button type="submit" class="control primary">{search.busy.value ? 'Running' : 'Run'} <kbd>{'\u23ce'}</kbd></button>
      <button type="button" class="control" aria-pressed={compact.value} title="compact rows" aria-label="compact rows"
        onClick={() => { compact.value = !compact.value; }}>{'\u2261'}</button>
      <button type="button" class="control" aria-pressed={histogramOpen.value} title="histogram" aria-label="histogram"
        onClick={() => { histogramOpen.value = !histogramOpen.value; }}>{'\u25a5'}</button>
    </form>
  );
}

function stamp(ns: string | undefined): string {
  return ns === undefined ? '' : formatNs(ns).slice(0, 19);
}

/** "N of M, from t1 to t2, limit hit or not, checkpoint size": never left to guessing. */
function Caption({ evidenceOpen, onEvidence }: { evidenceOpen: boolean; onEvidence: () => void }) {
  const answer = search.histogram.value;
  const loaded = search.rows.value.length;
  const all = search.nextBefore.value === null;
  const frozen = search.checkpoint.value;
  return (
    <div class="caption" role="status">
      {search.context.value === null ? <>
        <span><strong>{formatCount(loaded)}</strong> of {answer === null ? '\u2026' : formatCount(answer.total)} events{answer?.timed_out === true ? ' (count cut by time)' : ''}</span>
        {answer === null ? null : <span>{stamp(answer.from_ns)} {'\u2192'} {stamp(answer.to_ns)} UTC</span>}
        <span class={all ? '' : 'emphasis'}>{loaded >= search.ROWS_MAX ? `list full at ${formatCount(search.ROWS_MAX)}: narrow the range`
          : all ? 'limit not reached' : 'limit reached, scroll for more'}</span>
        {search.unreadable.value === 0 ? null : <span class="emphasis">{'\u25b2'} {formatCount(search.unreadable.value)} records could not be read: damaged</span>}
        {search.expired.value === 0 ? null : <span>{formatCount(search.expired.value)} records of that time have expired</span>}
        {search.timedOut.value ? <span class="emphasis">time box ended the scan: scroll to continue</span> : null}
      </> : <span><strong>Context of #{formatCount(search.context.value.of)}</strong>: neighbours from the same source, unfiltered, oldest first</span>}
      {frozen === null ? null : <span>frozen @ {formatCount(frozen.size)}</span>}
      {search.ran.value === null || !mayTakeBundles() ? null : (
        <button type="button" class="small" aria-expanded={evidenceOpen} aria-controls="query-evidence" onClick={onEvidence}>Evidence{'\u2026'}</button>)}
      <span class="legend"><i class="sw err" />err <i class="sw warn" />warn <i class="sw base" />other</span>
    </div>
  );
}

const timeOr = (iso: string | null, open: string): string => (iso === null ? open : `${iso.slice(0, 19).replace('T', ' ')} UTC`);

function Empty() {
  if (search.busy.value) return <p class="empty">Searching{'\u2026'}</p>;
  if (search.searchError.value !== null || search.ran.value === null) return <p class="empty" />;
  return (
    <div class="empty">
      <p><strong>No events match.</strong></p>
      <p>Everything from {timeOr(search.ran.value.range.from, 'the start of the log')} to {timeOr(search.ran.value.range.to, 'its end')} was
        searched{search.timedOut.value ? ' until the time box ended' : ''}. Access, checkpoint, anchor and clock entries are left out unless the query names them, as in <code>kind:access</code>.</p>
    </div>
  );
}

export function SearchScreen() {
  const input = useRef<HTMLInputElement>(null);
  useSearchKeys(() => {
    input.current?.focus();
    input.current?.select();
  });
  const [evidenceOpen, setEvidenceOpen] = useState(false);
  const ran = search.ran.value;
  const where = route.value;
  useEffect(() => { search.startFromRoute(); }, [where]);

  const listed = search.listed.value;
  const at = search.selected.value;
  const model = search.stray.value ?? listed[at];
  const pinned = new Set(search.pins.value.map((m) => m.row.seq));
  const needles = search.ranNeedles.value;
  const open = (index: number): void => {
    search.stray.value = null;
    search.selected.value = index;
    search.opened.value = true;
  };
  return (
    <main class="screen search" id="main">
      <h1 class="sr-only">Search</h1>
      <QueryBar input={input} />
      <QueryError />
      {histogramOpen.value && search.histogram.value !== null ? <Histogram answer={search.histogram.value} onZoom={onZoom} /> : null}
      <Caption evidenceOpen={evidenceOpen} onEvidence={() => setEvidenceOpen(!evidenceOpen)} />
      <div id="query-evidence">
        {evidenceOpen && ran !== null ? <QueryEvidence query={ran.query} from={ran.range.from} to={ran.range.to} /> : null}
      </div>
      <div class="columns">
        <Facets rows={search.rows.value} query={search.draft.value} pins={search.pins.value} onQuery={onQuery} onPin={showPin} />
        <section class="results" aria-label="Events" aria-busy={search.busy.value}>
          {search.context.value === null ? null : (
            <p class="context-bar"><button type="button" class="small" onClick={() => search.closeContext()}>{'\u2190'} Back to the search <kbd>Esc</kbd></button></p>
          )}
          <RowHeader />
          {listed.length === 0 ? <Empty /> : (
            <VirtualList count={listed.length} of={listed} rowHeight={rowHeight()} label="Events" active={at} onRange={onRange}
              activeId={model === undefined ? undefined : rowId(model)} row={(index) => {
                const item = listed[index];
                return item === undefined ? null : (
                  <RowLine key={item.row.seq} model={item} index={index} selected={index === at} pinned={pinned.has(item.row.seq)}
                    centre={search.context.value?.of === item.row.seq} needles={needles} onOpen={open} />
                );
              }} />
          )}
        </section>
        {model === undefined || !search.opened.value ? null : (
          <Drawer key={model.row.seq} model={model} size={model.checkpoint?.size ?? null} query={search.draft.value} needles={needles}
            permalink={search.permalink(model.row.seq)} onClose={() => { search.opened.value = false; }}
            onContext={() => search.openContext(model)}
            onFilter={(field, value, sign) => onQuery(toggleFilter(search.draft.value, field, value, sign))} />
        )}
      </div>
    </main>
  );
}
