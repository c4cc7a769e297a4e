// The state of the Network screen: the policy that runs, the counters, and what the log says about both in a frozen range.
import { computed, signal } from '@preact/signals';
import { type NetworkAnswer, type SearchAnswer, type StatusAnswer, api } from './api.js';
import {
  HISTORY_QUERY, type PolicyEvent, VIOLATIONS_QUERY, type Violation, historyOf, openDrift, openUnapplied, parseObject, policyEventOf, violationOf } from './network/entries.js';
import { type Range, freezePreset } from './time.js';
import { RowModel, payloadPreview } from './rows.js';
import { route } from './state.js';
import { follow } from './trust.js';
import { fromBase64 } from './verify/bytes.js';

const PAGE_ROWS = 500;
export const VIOLATIONS_MAX = 4000;         // entries, not packets; beyond it the screen says so
export const HISTORY_MAX = 500;
const DEFAULT_PRESET = '7d';
const STALE_MS = 60_000;

export interface ViolationRow { seq: number; violation: Violation; model: RowModel }
export interface EventRow { seq: number; event: PolicyEvent; model: RowModel; whole: boolean }

/** What a search gave, and whether that was all of it. */
export interface Listing<T> { rows: T[]; more: boolean; unread: number }

const nothing = <T>(): Listing<T> => ({ rows: [], more: false, unread: 0 });

export const network = signal<NetworkAnswer | null>(null);
export const status = signal<StatusAnswer | null>(null);
export const violations = signal<Listing<ViolationRow> | null>(null);
export const events = signal<Listing<EventRow> | null>(null);
export const networkError = signal('');
export const entriesError = signal('');
export const busy = signal(false);
export const zone = signal('');              // '': all of them
export const ran = signal<{ preset: string; range: Range; nowMs: number } | null>(null);

export const inZone = computed(() => (violations.value?.rows ?? []).filter((row) => zone.value === '' || row.violation.zone === zone.value));
// As text, so that what hangs on it is only computed again when an entry turns out to be false, not at each one that is proven.
const falseText = computed(() => [...(violations.value?.rows ?? []), ...(events.value?.rows ?? [])]
  .filter(({ model }) => model.verdict.value?.state === 'false').map(({ seq }) => seq).join(' '));
/** Entries that are not what the signed log holds: shown as such, and counted nowhere. */
export const falses = computed(() => new Set(falseText.value.split(' ').filter((seq) => seq !== '').map(Number)));

export const history = computed(() => historyOf(events.value?.rows ?? []));
export const drift = computed(() => openDrift(events.value?.rows ?? []));
export const unapplied = computed(() => openUnapplied(events.value?.rows ?? []));

const message = (error: unknown): string => (error instanceof Error ? error.message : String(error));

let running: AbortController | null = null;

/** All pages of a search up to a bound, of one frozen tree; newest first. */
async function collect<T>(
  q: string, range: Range, most: number, signal: AbortSignal, read: (model: RowModel) => T | undefined): Promise<Listing<T>> {
  const out = nothing<T>();
  let before: number | null = null;
  let size: number | undefined;
  do {
    const answer: SearchAnswer = await api.search({ q, from: range.from, to: range.to, limit: PAGE_ROWS, before, size }, signal);
    if (answer.checkpoint !== null) {
      if (size === undefined) void follow(answer.checkpoint, true);
      size = answer.checkpoint.size;
    }
    for (const row of answer.rows) {
      const model = new RowModel(row, answer.checkpoint);
      void model.verify();           // all of them, shown or not: their sums are
      const item = read(model);
      if (item === undefined) out.unread++;
      else out.rows.push(item);
    }
    before = answer.next_before;
  } while (before !== null && out.rows.length + out.unread < most);
  out.more = before !== null;
  return out;
}

function violationRow(model: RowModel): ViolationRow | undefined {
  const payload = parseObject(payloadPreview(model.row));
  const violation = payload === undefined ? undefined : violationOf(payload, model.row.time_ns);
  return violation === undefined ? undefined : { seq: model.row.seq, violation, model };
}

/** A payload longer than its preview is fetched when the row is looked at (`completeEvent`); until then only its kind is known. */
function eventRow(model: RowModel): EventRow | undefined {
  const payload = parseObject(payloadPreview(model.row));
  const event = payload === undefined ? undefined : policyEventOf(payload);
  if (event !== undefined) return { seq: model.row.seq, event, model, whole: true };
  if (model.row.payload_whole) return undefined;
  const kind = model.row.kind === 'policy' ? 'policy_change' : 'policy_drift';     // the long ones
  const bare = policyEventOf({ [model.row.kind === 'policy' ? 'event' : 'alarm']: kind });
  return bare === undefined ? undefined : { seq: model.row.seq, event: bare, model, whole: false };
}

/** Fetches the payload of an entry that came in part, and proves all of it. */
export async function completeEvent(row: EventRow): Promise<void> {
  const answer = await api.record(row.seq, row.model.checkpoint?.size ?? null);
  const bytes = fromBase64(answer.payload_b64);
  const payload = parseObject(bytes);
  const event = payload === undefined ? undefined : policyEventOf(payload);
  await row.model.verify(bytes.length === answer.payload_size ? bytes : undefined);
  const listing = events.value;
  if (listing === null || event === undefined) return;
  events.value = { ...listing, rows: listing.rows.map((one) => (one.seq === row.seq ? { ...one, event, whole: true } : one)) };
}

const COMPLETED_UNASKED = 8;

/** The newest long entries are completed by themselves: each is a read, and each read is an entry of the log. */
async function completeNewest(signal: AbortSignal): Promise<void> {
  for (const row of (events.value?.rows ?? []).filter((one) => !one.whole).slice(0, COMPLETED_UNASKED)) {
    if (signal.aborted) return;
    await completeEvent(row);
  }
}

/** Reads what the address says. What is on the screen and not yet stale is not read again: each read is an entry of the log. */
export function load(anew = false): void {
  const { parameters } = route.value;
  const from = parameters.get('from');
  const to = parameters.get('to');
  const nowMs = Date.now();
  const preset = from === null && to === null ? parameters.get('last') ?? DEFAULT_PRESET : '';
  const range = preset === '' ? { from, to } : freezePreset(preset, nowMs);
  zone.value = parameters.get('zone') ?? '';
  const last = ran.value;
  const same = last !== null && last.preset === preset && (preset !== '' || (last.range.from === from && last.range.to === to));
  if (same && !anew && nowMs - last.nowMs < STALE_MS) return;
  running?.abort();
  const abort = new AbortController();
  running = abort;
  ran.value = { preset, range, nowMs };
  busy.value = true;
  networkError.value = '';
  entriesError.value = '';
  const view = api.network().then((answer) => { network.value = answer; }).catch((error: unknown) => { networkError.value = message(error); });
  const counters = api.status().then((answer) => { status.value = answer; }).catch(() => { status.value = null; });
  const entries = (async () => {
    const found = await collect(VIOLATIONS_QUERY, range, VIOLATIONS_MAX, abort.signal, violationRow);
    if (abort.signal.aborted) return;
    violations.value = found;
    events.value = await collect(HISTORY_QUERY, { from: null, to: null }, HISTORY_MAX, abort.signal, eventRow);
    await completeNewest(abort.signal);
  })().catch((error: unknown) => { if (!abort.signal.aborted) entriesError.value = message(error); });
  void Promise.all([view, counters, entries]).finally(() => { if (running === abort) busy.value = false; });
}
