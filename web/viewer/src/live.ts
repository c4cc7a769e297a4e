// The live tail: server-sent events, resumed by sequence number, paused without losing count.
import { computed, signal } from '@preact/signals';
import type { CheckpointData, RowData } from './verify/record.js';
import { ApiError, type SearchAnswer, api, apiPath, onUnauthorized } from './api.js';
import { RowModel } from './rows.js';
import { follow, judge } from './trust.js';

const BACKLOG_ROWS = 60;
const ROWS_MAX = 2000;               // the screen keeps the newest; the log keeps all
const PENDING_MAX = 5000;            // while paused; beyond it the tail is resumed from the log instead
const VERIFY_EVERY_MS = 4000;        // each verification reads, and each read is itself a record: not more often
const VERIFY_ACCESS_EVERY_MS = 60_000;   // where only such records are unproven: else a tail of them would feed on itself
const FOLLOW_EVERY_MS = 15_000;
const RETRY_MS = 2000;

export type LiveState = 'connecting' | 'live' | 'broken' | 'stopped';

export const liveQuery = signal('');
export const liveRows = signal<RowModel[]>([]);
export const liveState = signal<LiveState>('stopped');
export const liveError = signal('');
export const paused = signal(false);
export const pendingCount = signal(0);
export const skipped = signal(0);
export const tip = signal<CheckpointData | null>(null);       // the newest checkpoint that verified
export const lagMs = signal<number | null>(null);
export const ratePerSecond = signal(0);
export const liveSelected = signal(-1);
export const liveOpened = signal(false);
export const wrapLines = signal(1);
/** Rows at the end of the list that no checkpoint covers yet. */
export const uncovered = computed(() => {
  const size = tip.value?.size ?? 0;
  return liveRows.value.filter((model) => model.row.seq >= size).length;
});

let source: EventSource | null = null;
let pending: RowModel[] = [];
let pendingOverflowed = false;
let lastSeq: number | null = null;         // the last one taken from the stream
let retryTimer = 0;
let frame = 0;
let incoming: RowModel[] = [];
let lastVerify = 0;
let lastFollow = 0;
let verifying = false;
let generation = 0;                        // of the tail: an answer to an earlier one is dropped
const arrivals: number[] = [];

function parseEvent<T>(event: Event): T | null {
  try {
    return JSON.parse((event as MessageEvent<string>).data) as T;
  } catch {
    liveError.value = 'the tail sent something that is not JSON';
    return null;
  }
}

export function startTail(query: string): void {
  stopTail();
  liveQuery.value = query;
  liveRows.value = [];
  liveError.value = '';
  incoming = [];
  paused.value = false;
  tip.value = null;
  pending = [];
  pendingCount.value = 0;
  pendingOverflowed = false;
  skipped.value = 0;
  lastSeq = null;
  liveSelected.value = -1;
  liveOpened.value = false;
  generation++;
  void begin(generation);
}

/** The newest rows of the log first, proven; then the stream from where the checkpoint ends, so nothing falls between. */
async function begin(mine: number): Promise<void> {
  liveState.value = 'connecting';
  try {
    const answer = await api.search({ q: liveQuery.value, limit: BACKLOG_ROWS });
    if (mine !== generation) return;
    const { checkpoint } = answer;
    if (checkpoint !== null) {
      liveRows.value = answer.rows.map((row) => new RowModel(row, checkpoint)).reverse();
      lastSeq = checkpoint.size - 1;
      void onCheckpoint(checkpoint);
    }
  } catch (error) {
    if (mine !== generation) return;
    liveError.value = error instanceof Error ? error.message : String(error);
    if (error instanceof ApiError && error.code === 'bad_query') {
      liveState.value = 'broken';
      return;
    }
  }
  connect();
}

export function stopTail(): void {
  source?.close();
  source = null;
  window.clearTimeout(retryTimer);
  generation++;
  liveState.value = 'stopped';
}

function connect(): void {
  liveState.value = 'connecting';
  const stream = new EventSource(apiPath('tail', { q: liveQuery.value, after: lastSeq }));
  source = stream;
  stream.onopen = () => {
    liveState.value = 'live';
    liveError.value = '';
  };
  stream.onmessage = (event) => onRow(parseEvent<RowData>(event));
  stream.addEventListener('checkpoint', (event) => void onCheckpoint(parseEvent<CheckpointData>(event)));
  stream.addEventListener('lag', (event) => {
    const lag = parseEvent<{ skipped: number }>(event);
    if (typeof lag?.skipped === 'number') skipped.value += lag.skipped;
  });
  stream.onerror = () => {
    if (source !== stream) return;
    liveState.value = 'broken';
    // The browser tries again by itself, with Last-Event-ID, unless the answer was an error: then we do, by sequence.
    if (stream.readyState === EventSource.CLOSED) void recover();
  };
}

async function recover(): Promise<void> {
  source = null;
  const mine = generation;
  try {
    await api.session();
  } catch (error) {
    liveError.value = error instanceof Error ? error.message : String(error);
    if (error instanceof ApiError && error.status === 401) return onUnauthorized();
  }
  if (mine === generation) retryTimer = window.setTimeout(connect, RETRY_MS);
}

function onRow(row: RowData | null): void {
  if (row === null || (lastSeq !== null && row.seq <= lastSeq)) return;       // an overlap after a reconnect
  lastSeq = row.seq;
  arrivals.push(Date.now());
  lagMs.value = Date.now() - Number(BigInt(row.time_ns) / 1_000_000n);
  const model = new RowModel(row, null);
  if (paused.value) {
    pendingCount.value++;
    if (pending.length < PENDING_MAX) pending.push(model);
    else pendingOverflowed = true;
    return;
  }
  incoming.push(model);
  if (incoming.length > ROWS_MAX) flush();           // a hidden tab gets no frames
  else if (frame === 0) frame = requestAnimationFrame(flush);
}

/** A thousand rows a second are one change a frame. */
function flush(): void {
  frame = 0;
  const added = incoming;
  incoming = [];
  const all = [...liveRows.value, ...added];
  const cut = Math.max(0, all.length - ROWS_MAX);
  liveRows.value = cut === 0 ? all : all.slice(cut);
  if (liveSelected.value >= 0 && cut > 0) liveSelected.value = Math.max(-1, liveSelected.value - cut);
}

export function pause(on: boolean): void {
  if (on === paused.value) return;
  if (on) {
    flush();
    paused.value = true;
    return;
  }
  paused.value = false;
  const kept = pending;
  const overflowed = pendingOverflowed;
  pending = [];
  pendingCount.value = 0;
  pendingOverflowed = false;
  if (overflowed) {
    // More came than is kept here: take the rest from the log, from the first one that is missing.
    lastSeq = kept.at(-1)?.row.seq ?? lastSeq;
    source?.close();
    connect();
  }
  incoming.push(...kept);
  flush();
}

async function onCheckpoint(checkpoint: CheckpointData | null): Promise<void> {
  if (checkpoint === null) return;
  const verdict = await judge(checkpoint);
  if (!verdict.ok) {
    void follow(checkpoint, false);            // raises the alarm
    return;
  }
  if (tip.value === null || checkpoint.size > tip.value.size) tip.value = checkpoint;
  if (Date.now() - lastFollow > FOLLOW_EVERY_MS) {
    lastFollow = Date.now();
    void follow(checkpoint, false);
  }
}

/**
 * Fetches the proofs of rows in sight that are covered by the newest checkpoint and not yet proven: one search for all of
 * them, at most every few seconds.
 */
export async function verifyVisible(visible: RowModel[], force = false): Promise<void> {
  const checkpoint = tip.value;
  if (checkpoint === null || verifying) return;
  const wanted = visible.filter((m) => m.row.proof === undefined && m.row.seq < checkpoint.size);
  const newest = wanted.at(-1);
  if (newest === undefined) return;
  const pause = wanted.every((m) => m.row.kind === 'access') ? VERIFY_ACCESS_EVERY_MS : VERIFY_EVERY_MS;
  if (!force && Date.now() - lastVerify < pause) return;
  verifying = true;
  lastVerify = Date.now();
  try {
    const answer = await api.search({
      q: liveQuery.value, size: checkpoint.size, before: newest.row.seq + 1, limit: Math.min(1000, visible.length + 8) });
    const bySeq = new Map(answer.rows.map((row) => [row.seq, row]));
    for (const model of wanted) {
      const proven = bySeq.get(model.row.seq);
      if (proven === undefined) {
        if (mustBeThere(answer, model.row.seq)) model.deny('this row was shown live, and the log does not have it now');
        continue;
      }
      // The text stays the one that was shown: it is what must be proven.
      model.row = { ...model.row, ...pick(proven) };
      model.checkpoint = answer.checkpoint;
      void model.again();
    }
  } catch (error) {
    liveError.value = error instanceof Error ? error.message : String(error);
  } finally {
    verifying = false;
  }
}

/** The answer looked at this place: whatever the query finds there would be in it. */
function mustBeThere(answer: SearchAnswer, seq: number): boolean {
  const gone = [...answer.unreadable ?? [], ...answer.expired ?? []].some(([first, end]) => seq >= first && seq < end);
  return !gone && (answer.next_before === null || seq >= answer.next_before);
}

function pick(row: RowData): Partial<RowData> {
  const { entry_b64, salt_b64, peer_b64, proof } = row;
  return {
    ...(entry_b64 === undefined ? {} : { entry_b64 }), ...(salt_b64 === undefined ? {} : { salt_b64 }),
    ...(peer_b64 === undefined ? {} : { peer_b64 }), ...(proof === undefined ? {} : { proof }) };
}

export function measureRate(): void {
  const since = Date.now() - 5000;
  while (arrivals.length > 0 && (arrivals[0] ?? 0) < since) arrivals.shift();
  ratePerSecond.value = arrivals.length / 5;
}
