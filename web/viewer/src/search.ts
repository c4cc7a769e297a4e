// The search that is on the screen: one frozen range and one frozen tree size for rows, next page, histogram and permalink.
import { computed, signal } from '@preact/signals';
import { ApiError, type HistogramAnswer, type SearchAnswer, api } from './api.js';
import type { CheckpointData } from './verify/record.js';
import { RowModel } from './rows.js';
import { type Range, freezePreset, isoOfMs } from './time.js';
import { go, route, routeText } from './state.js';
import { follow } from './trust.js';
import { needles } from './query/builder.js';

const PAGE_ROWS = 200;
export const ROWS_MAX = 50_000;       // above it the list says so; the histogram is the way to the rest
const BUCKETS = 160;
const DEFAULT_PRESET = '24h';

/** What the query bar shows; it becomes the search when it is run. */
export const draft = signal('');
export const preset = signal<string>(DEFAULT_PRESET);   // '' = an absolute range
export const range = signal<Range>({ from: null, to: null });

export const rows = signal<RowModel[]>([]);
export const checkpoint = signal<CheckpointData | null>(null);
export const histogram = signal<HistogramAnswer | null>(null);
export const busy = signal(false);
export const loadingMore = signal(false);
export const searchError = signal<ApiError | null>(null);
export const nextBefore = signal<number | null>(null);
export const timedOut = signal(false);
export const unreadable = signal(0);        // records the appliance could not read: damaged
export const expired = signal(0);           // records of the time asked for that are gone: their retention is over
export const ran = signal<{ query: string; range: Range } | null>(null);
export const selected = signal(-1);
export const opened = signal(false);
export const pins = signal<RowModel[]>([]);
export const context = signal<{ of: number; rows: RowModel[] } | null>(null);
/** An event that a permalink names and that is not among the rows loaded. */
export const stray = signal<RowModel | null>(null);
export const ranNeedles = computed(() => needles(ran.value?.query ?? ''));

/** Rows the list shows: the hits, or the context of one of them. */
export const listed = computed(() => context.value?.rows ?? rows.value);

let running: AbortController | null = null;
let lastRoute = '';

const asError = (error: unknown): ApiError =>
  (error instanceof ApiError ? error : new ApiError(0, 'internal', error instanceof Error ? error.message : String(error), null));

function countOf(spans: [number, number][] | undefined): number {
  return (spans ?? []).reduce((sum, [first, end]) => sum + end - first, 0);
}

/** Writes the query bar into the address; the address starts the search. */
export function submit(): void {
  const hash = preset.value === ''
    ? routeText('search', { q: draft.value.trim(), from: range.value.from, to: range.value.to })
    : routeText('search', { q: draft.value.trim(), last: preset.value });
  if (location.hash === hash) void start(true);
  else go(hash);
}

export function zoom(from: string | null, to: string | null): void {
  preset.value = '';
  range.value = { from, to };
  submit();
}

/** Shifts the window by halves of its width, or scales it about its middle. */
export function moveWindow(shift: number, scale: number): void {
  const answer = histogram.value;
  if (answer === null) return;
  const from = Number(BigInt(answer.from_ns) / 1_000_000n);
  const to = Number(BigInt(answer.to_ns) / 1_000_000n);
  const width = Math.max(1, to - from);
  const middle = (from + to) / 2 + shift * width;
  const half = Math.max(1, (width * scale) / 2);
  zoom(isoOfMs(Math.floor(middle - half)), isoOfMs(Math.ceil(middle + half)));
}

/** Runs what the address says, if it is not what is already on the screen. */
export function startFromRoute(): void {
  const { parameters } = route.value;
  const last = parameters.get('last');
  const from = parameters.get('from');
  const to = parameters.get('to');
  draft.value = parameters.get('q') ?? '';
  preset.value = last ?? (from === null && to === null ? DEFAULT_PRESET : '');
  range.value = { from, to };
  void start(false);
}

async function start(force: boolean): Promise<void> {
  const text = route.value.parameters.toString();
  if (!force && text === lastRoute && (rows.value.length > 0 || busy.value)) return;
  lastRoute = text;
  running?.abort();
  const abort = new AbortController();
  running = abort;
  const { parameters } = route.value;
  const frozen = preset.value === '' ? range.value : freezePreset(preset.value, Date.now());
  const query = draft.value.trim();
  const size = parameters.get('size');

  busy.value = true;
  searchError.value = null;
  context.value = null;
  try {
    const answer = await api.search({ q: query, from: frozen.from, to: frozen.to, size, limit: PAGE_ROWS }, abort.signal);
    if (abort.signal.aborted) return;
    ran.value = { query, range: frozen };
    checkpoint.value = answer.checkpoint;
    rows.value = modelsOf(answer);
    nextBefore.value = answer.next_before;
    timedOut.value = answer.timed_out;
    selected.value = rows.value.length > 0 ? 0 : -1;
    opened.value = false;
    stray.value = null;
    busy.value = false;
    unreadable.value = countOf(answer.unreadable);
    expired.value = countOf(answer.expired);
    if (answer.checkpoint !== null) void follow(answer.checkpoint, size === null);
    void openEvent(parameters.get('event'));
    histogram.value = await api.histogram(
      { q: query, from: frozen.from, to: frozen.to, size: answer.checkpoint?.size, buckets: BUCKETS }, abort.signal);
  } catch (error) {
    if (abort.signal.aborted) return;
    searchError.value = asError(error);
  } finally {
    if (running === abort) busy.value = false;
  }
}

const modelsOf = (answer: SearchAnswer): RowModel[] => answer.rows.map((row) => new RowModel(row, answer.checkpoint));

async function openEvent(text: string | null): Promise<void> {
  if (text === null || !/^\d{1,16}$/.test(text)) return;
  const at = rows.value.findIndex((model) => model.row.seq === Number(text));
  if (at >= 0) {
    selected.value = at;
    opened.value = true;
    return;
  }
  try {
    const answer = await api.record(Number(text), checkpoint.value?.size ?? null);
    stray.value = new RowModel(answer.row, answer.checkpoint);
    opened.value = true;
  } catch (error) {
    searchError.value = asError(error);
  }
}

/** The next page, of the same range and the same tree. */
export async function loadMore(): Promise<void> {
  const now = ran.value;
  const before = nextBefore.value;
  if (now === null || before === null || loadingMore.value || busy.value || rows.value.length >= ROWS_MAX) return;
  loadingMore.value = true;
  const abort = running;
  try {
    const answer = await api.search({
      q: now.query, from: now.range.from, to: now.range.to, size: checkpoint.value?.size, before, limit: PAGE_ROWS }, abort?.signal);
    if (running !== abort) return;
    rows.value = [...rows.value, ...modelsOf(answer)];
    nextBefore.value = answer.next_before;
    timedOut.value = answer.timed_out;
  } catch (error) {
    if (running === abort && !(error instanceof DOMException)) searchError.value = asError(error);
  } finally {
    loadingMore.value = false;
  }
}

export function openContext(model: RowModel): void {
  void api.context(model.row.seq, 40).then((answer) => {
    const models = answer.rows.map((row) => new RowModel(row, answer.checkpoint));
    context.value = { of: model.row.seq, rows: models };
    selected.value = models.findIndex((m) => m.row.seq === model.row.seq);
  }).catch((error: unknown) => { searchError.value = asError(error); });
}

export function closeContext(): void {
  const of = context.value?.of;
  context.value = null;
  selected.value = rows.value.findIndex((model) => model.row.seq === of);
}

/** Absolute range, tree size and event: the same page for whoever opens it, as long as the log lives. */
export function permalink(event: number | null): string {
  const now = ran.value;
  const hash = routeText('search', {
    q: now?.query, from: now?.range.from ?? isoOfMs(0), to: now?.range.to ?? isoOfMs(Date.now() + 1000),
    size: checkpoint.value === null ? null : String(checkpoint.value.size), event: event === null ? null : String(event) });
  return `${location.origin}/${hash}`;
}
