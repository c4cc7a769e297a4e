// The P-chain (TCG crypto-agile log and CEL-JSON) and the X-chain (CEL-JSON): docs/format.md, "Event data". Each has one form;
// what is written in another is refused.
import { type Bytes, Malformed, equal, fromHex, toHex, utf8 } from '../bytes.js';
import { decodeText } from './members.js';

const EVENT_TAG = 6;
const ALG_SHA256 = 0x000b;
const NOTE_BYTES_MAX = 64 * 1024;
const RECORD_SEPARATOR = '\u001e';
// TCG_PCR_EVENT of PCR 0, EV_NO_ACTION, with the Spec ID event of sha256 alone.
const SPEC_ID = fromHex(
  '000000000300000000000000000000000000000000000000000000002100000053706563' +
  '204944204576656e743033000000000000020202010000000b00200000');

export interface CheckpointEvent { digest: Bytes; note: Bytes }
export interface AnchorEvent { number: number; digest: Bytes; note: string | undefined }

const bad = (log: string, number: number): never => {
  throw new Malformed(`${log}: event ${number} is not in its one form`);
};

export function parseEventLog(log: Bytes, pcr: number): CheckpointEvent[] {
  if (!equal(log.slice(0, SPEC_ID.length), SPEC_ID)) throw new Malformed('event log: no Spec ID event of sha256 alone');
  const view = new DataView(log.buffer, log.byteOffset, log.byteLength);
  const events: CheckpointEvent[] = [];
  // pcr u32, type u32, count u32, algorithm u16, digest[32], size u32, event
  for (let at = SPEC_ID.length; at < log.length;) {
    if (at + 50 > log.length) bad('event log', events.length);
    const ours = view.getUint32(at, true) === pcr && view.getUint32(at + 4, true) === EVENT_TAG &&
      view.getUint32(at + 8, true) === 1 && view.getUint16(at + 12, true) === ALG_SHA256;
    const size = view.getUint32(at + 46, true);
    if (!ours || size > NOTE_BYTES_MAX || at + 50 + size > log.length) bad('event log', events.length);
    events.push({ digest: log.slice(at + 14, at + 46), note: log.slice(at + 50, at + 50 + size) });
    at += 50 + size;
  }
  return events;
}

const digestsOf = (digest: Bytes) => [{ digest: toHex(digest), hashAlg: 'sha256' }];
const celLine = (event: object): string => `${RECORD_SEPARATOR}${JSON.stringify(event)}\n`;

/** Line by line, so that a log of 64 MiB is not written twice. */
export function isCheckpointsCel(cel: Bytes, pcr: number, events: CheckpointEvent[]): boolean {
  let at = 0;
  for (const [recnum, event] of events.entries()) {
    const line = utf8(celLine({
      content: { eventType: 'checkpoint', string: decodeText(event.note) }, content_type: 'stele', digests: digestsOf(event.digest),
      pcr, recnum }));
    if (!equal(cel.subarray(at, at + line.length), line)) return false;
    at += line.length;
  }
  return at === cel.length;
}

function anchorOf(line: string): AnchorEvent | undefined {
  try {
    const { content, digests } = JSON.parse(line) as { content: Record<string, unknown>; digests: { digest: string }[] };
    const number = content['number'];
    const note = content['string'];
    const digest = fromHex(digests[0]?.digest ?? '');
    if (!Number.isSafeInteger(number) || digest.length !== 32) return undefined;
    return { number: number as number, digest, note: typeof note === 'string' ? note : undefined };
  } catch {
    return undefined;
  }
}

function anchorLine(recnum: number, handle: number, event: AnchorEvent): string {
  const note = event.note === undefined ? {} : { string: event.note };
  return celLine({
    content: { eventType: 'anchor', number: event.number, ...note }, content_type: 'stele', digests: digestsOf(event.digest),
    nv_index: handle, recnum });
}

export function parseAnchorsCel(cel: string, handle: number): AnchorEvent[] {
  const events: AnchorEvent[] = [];
  for (let at = 0; at < cel.length;) {
    const end = cel.indexOf('\n', at);
    if (end < 0 || cel[at] !== RECORD_SEPARATOR) bad('anchors.cel', events.length);
    const line = cel.slice(at, end + 1);
    const event = anchorOf(line.slice(1));
    const last = events.at(-1);
    if (event === undefined || event.number < 0 || (last !== undefined && event.number !== last.number + 1) ||
        anchorLine(events.length, handle, event) !== line) {
      return bad('anchors.cel', events.length);
    }
    events.push(event);
    at = end + 1;
  }
  return events;
}
