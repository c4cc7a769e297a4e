// One row of an answer, checked against a checkpoint: what is shown is what is in the log, or the row says no.
import { type Bytes, equal, fromBase64, fromHex, toHex } from './bytes.js';
import { type Entry, commitPayload, decodeEntry, peerText } from './entry.js';
import { leafHash, verifyInclusion } from './merkle.js';
import { type VerifierKey, openNote, parseCheckpoint } from './note.js';

export interface CheckpointData { size: number; root: string; time: string; note: string; seq: number | null }

export interface RowData {
  seq: number;
  time: string;
  time_ns: string;
  kind: string;
  flags: string[];
  source: { id: number; transport?: string; peer?: string; listener?: string; zone?: string };
  peer?: string;
  severity?: number;
  facility?: number;
  host?: string;
  app?: string;
  pid?: string;
  msgid?: string;
  claimed_time?: string;
  message?: { offset: number; length: number };
  size: number;
  payload_b64: string;
  payload_whole: boolean;
  format: string;
  entry_b64?: string;
  salt_b64?: string;
  peer_b64?: string;
  proof?: string[];
}

/**
 * `proven`: entry and whole payload. `part`: the entry is proven, but only part of its payload is here, so the text shown is
 * not yet. `open`: above the newest checkpoint, nothing to check against. `false`: a check failed.
 */
export type RowState = 'proven' | 'part' | 'open' | 'false';

export interface Check { name: string; ok: boolean | null; detail: string }
export interface RowVerdict { state: RowState; why: string; checks: Check[]; leaf: string }

export interface CheckpointVerdict { ok: boolean; why: string; size: number; root: Bytes; checks: Check[] }

const reason = (error: unknown): string => (error instanceof Error ? error.message : String(error));

class Checks {
  readonly list: Check[] = [];
  add(name: string, ok: boolean | null, detail: string): boolean {
    this.list.push({ name, ok, detail });
    return ok === true;
  }
  firstFailure(): Check | undefined {
    return this.list.find((check) => check.ok === false);
  }
}

/** Signature by the pinned key over exactly this origin, size and root; the size and root beside the note agree with it. */
export async function verifyCheckpoint(data: CheckpointData, key: VerifierKey, origin: string): Promise<CheckpointVerdict> {
  const checks = new Checks();
  let size = -1;
  let root: Bytes = new Uint8Array();
  try {
    const body = parseCheckpoint(await openNote(data.note, key));
    size = body.size;
    root = body.root;
    checks.add('signature', true, `Ed25519 by the pinned key ${key.name}+${toHex(key.id)}`);
    checks.add('origin', body.origin === origin, body.origin === origin ? origin : `the note names ${body.origin}, not ${origin}`);
    checks.add('size and root', body.size === data.size && toHex(body.root) === data.root,
      body.size === data.size && toHex(body.root) === data.root
        ? `${body.size} entries, root ${toHex(body.root)}` : 'the answer and the signed note disagree');
  } catch (error) {
    checks.add('signature', false, reason(error));
  }
  const bad = checks.firstFailure();
  return { ok: bad === undefined, why: bad?.detail ?? '', size, root, checks: checks.list };
}

/** Members of the row that repeat the entry: each must say what the entry says. */
function disagreement(row: RowData, entry: Entry): string | undefined {
  if (entry.sequence !== row.seq) return `the entry is number ${entry.sequence}, the row says ${row.seq}`;
  if (entry.kind !== row.kind) return `the entry is of kind ${entry.kind}, the row says ${row.kind}`;
  if (String(entry.receiveNs) !== row.time_ns) return 'the receive time of the row is not that of the entry';
  if (entry.source !== row.source.id) return `the entry names source ${entry.source}, the row says ${row.source.id}`;
  if (entry.payloadLength !== row.size) return `the entry commits to ${entry.payloadLength} bytes, the row says ${row.size}`;
  if ([...entry.flags].sort().join() !== [...row.flags].sort().join()) return 'the flags of the row are not those of the entry';
  return undefined;
}

// The severity is derived from the payload, so the bytes can contradict it: "<PRI>" opens both syslog formats.
function severityDisagrees(row: RowData, payload: Uint8Array): boolean {
  if (row.severity === undefined || (row.format !== 'rfc5424' && row.format !== 'rfc3164')) return false;
  const head = String.fromCharCode(...payload.slice(0, 5));
  const match = /^<(0|[1-9][0-9]{0,2})>/.exec(head);
  const priority = match === null ? NaN : Number(match[1]);
  return priority <= 191 && priority % 8 !== row.severity;
}

async function checkPayload(row: RowData, entry: Entry, payload: Bytes, whole: boolean, checks: Checks): Promise<boolean> {
  if (row.salt_b64 === undefined || row.peer_b64 === undefined) {
    checks.add('payload', null, 'the answer discloses no salt: the text cannot be checked');
    return false;
  }
  const peer = fromBase64(row.peer_b64);
  const shown = peerText(peer);
  if (row.peer !== undefined && row.peer !== shown) {
    checks.add('peer', false, `the committed peer is ${shown}, the row says ${row.peer}`);
    return false;
  }
  if (!whole) {
    checks.add('payload', null, `${payload.length} of ${entry.payloadLength} bytes are here: open the event to check them all`);
    return false;
  }
  const agrees = payload.length === entry.payloadLength &&
    equal(await commitPayload(fromBase64(row.salt_b64), peer, payload), entry.commitment);
  checks.add('payload', agrees, agrees
    ? `${payload.length} bytes hash to the commitment in the entry` : 'the bytes shown are not those the entry commits to');
  if (agrees && severityDisagrees(row, payload)) {
    return checks.add('severity', false, 'the severity shown is not the one in the payload');
  }
  return agrees;
}

/**
 * Checks a row against a checkpoint that was verified before. `payload`: all of its bytes, where the caller has fetched them;
 * otherwise the row's own preview is used.
 */
export async function verifyRow(row: RowData, checkpoint: CheckpointVerdict, payload?: Bytes): Promise<RowVerdict> {
  const checks = new Checks();
  let leaf = '';
  const done = (state: RowState, why: string): RowVerdict => ({ state, why, checks: checks.list, leaf });
  if (row.entry_b64 === undefined || row.proof === undefined) {
    if (checkpoint.ok && row.seq >= checkpoint.size) {
      return done('open', 'above the newest checkpoint: not yet covered by a signature');
    }
    checks.add('inclusion', false, 'the appliance gives no proof for a row its checkpoint covers');
    return done('false', 'the appliance gives no proof for a row its checkpoint covers');
  }
  try {
    const bytes = fromBase64(row.entry_b64);
    const entry = decodeEntry(bytes);
    const wrong = disagreement(row, entry);
    checks.add('entry', wrong === undefined, wrong ?? 'number, kind, time, source, flags and length are those of the row');
    const hash = await leafHash(bytes);
    leaf = toHex(hash);
    const included = await verifyInclusion(row.seq, checkpoint.size, hash, row.proof.map(fromHex), checkpoint.root);
    checks.add('inclusion', included, included
      ? `${row.proof.length} siblings lead from leaf ${row.seq} to the root of ${checkpoint.size}`
      : `the siblings do not lead from leaf ${row.seq} to the root of ${checkpoint.size}`);
    const shown = fromBase64(row.payload_b64);
    const text = payload ?? shown;
    // The text on the screen came with the row: bytes fetched later may complete it, never replace it.
    if (!equal(shown, text.slice(0, shown.length))) checks.add('preview', false, 'the text in the row is not the beginning of the payload');
    await checkPayload(row, entry, text, payload !== undefined || row.payload_whole, checks);
  } catch (error) {
    checks.add('form', false, reason(error));
  }
  checks.add('checkpoint', checkpoint.ok, checkpoint.ok
    ? `signed by the pinned log key, size ${checkpoint.size}` : `the checkpoint is not good: ${checkpoint.why}`);
  const bad = checks.firstFailure();
  if (bad !== undefined) return done('false', bad.detail);
  const open = checks.list.find((check) => check.ok === null);
  if (open !== undefined) return done('part', open.detail);
  return done('proven', `proven against checkpoint ${checkpoint.size}`);
}
