// The Integrity screen's work: fetch what the appliance claims, check all of it here.
import { signal } from '@preact/signals';
import { type IntegrityAnswer, api } from './api.js';
import { type AnchorVerdict, type CheckpointIntent, extendPcr, verifyAnchor } from './verify/anchor.js';
import type { Check, CheckpointVerdict } from './verify/record.js';
import { fromHex, toHex } from './verify/bytes.js';
import { noteDigest } from './verify/note.js';
import { follow, judge, meet } from './trust.js';

export interface CheckedCheckpoint { data: CheckpointIntent; verdict: CheckpointVerdict; digest: string; register: Check }

export interface Examined {
  answer: IntegrityAnswer;
  checkpoint: CheckpointVerdict | null;      // null: none has been made yet
  checkpoints: CheckedCheckpoint[];
  anchors: { number: number; verdict: AnchorVerdict; note: Check }[];
  tookMs: number;
}

export const examined = signal<Examined | null>(null);
export const examining = signal(false);
export const examineError = signal('');

const bad = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** Each checkpoint extends the PCR by its digest: the next intent of the same boot must start where this one ended. */
async function registerCheck(now: CheckpointIntent, digest: string, later: CheckpointIntent | undefined): Promise<Check> {
  const name = 'PCR chain';
  const mine = now.intent;
  const next = later?.intent;
  if (mine === undefined) return { name, ok: null, detail: 'no intent beside this checkpoint' };
  const sameBoot = next !== undefined && next.reset_count === mine.reset_count && next.restart_count === mine.restart_count &&
    next.number === mine.number + 1;
  if (!sameBoot || next === undefined) return { name, ok: null, detail: 'the last one of its boot in this list' };
  try {
    const after = toHex(await extendPcr(fromHex(mine.pcr_before), fromHex(digest)));
    const ok = after === next.pcr_before;
    return { name, ok, detail: ok ? `extends ${mine.pcr_before.slice(0, 12)}\u2026 to ${after.slice(0, 12)}\u2026`
      : 'the next checkpoint does not start at H(PCR before || digest)' };
  } catch (error) {
    return { name, ok: false, detail: bad(error) };
  }
}

async function checkCheckpoints(list: CheckpointIntent[], keyName: string): Promise<CheckedCheckpoint[]> {
  const byNumber = (c: CheckpointIntent): string => `${c.intent?.reset_count} ${c.intent?.restart_count} ${(c.intent?.number ?? 0)}`;
  const index = new Map(list.map((c) => [byNumber(c), c]));
  return Promise.all(list.map(async (data) => {
    const verdict = await judge({ size: data.size, root: data.root, time: data.time, note: data.note, seq: data.seq });
    const digest = toHex(await noteDigest(data.note, keyName));
    const i = data.intent;
    const later = i === undefined ? undefined : index.get(`${i.reset_count} ${i.restart_count} ${i.number + 1}`);
    return { data, verdict, digest, register: await registerCheck(data, digest, later) };
  }));
}

/** The receipt's digest is that of a checkpoint note; where the note is in the list, they must agree. */
function noteCheck(size: number, digest: string, checkpoints: CheckedCheckpoint[]): Check {
  const found = checkpoints.find((c) => c.data.size === size);
  if (found === undefined) return { name: 'checkpoint', ok: null, detail: `the note of size ${size} is not in this list` };
  const ok = found.digest === digest && found.verdict.ok;
  return { name: 'checkpoint', ok, detail: ok ? `digest of the signed note of ${size} entries`
    : found.verdict.ok ? 'the digest is not that of the signed note' : `the note is not good: ${found.verdict.why}` };
}

export async function examine(): Promise<void> {
  if (examining.value) return;
  examining.value = true;
  examineError.value = '';
  const start = performance.now();
  try {
    const answer = await api.integrity();
    const who = await meet(answer);
    const checkpoint = answer.checkpoint === null ? null : await judge(answer.checkpoint);
    const checkpoints = await checkCheckpoints(answer.checkpoints, who.key.name);
    const { provisioning } = answer;
    // Judged with the PINNED attestation key, whatever the appliance says today.
    const pinned = provisioning === null || who.pin.akPem === '' ? null : { ...provisioning, ak_public_pem: who.pin.akPem };
    const anchors = pinned === null ? [] : await Promise.all(answer.anchors.map(async (anchor) => ({
      number: anchor.number, verdict: await verifyAnchor(anchor, pinned, who.pin.logId, answer.anchors),
      note: noteCheck(anchor.size, anchor.digest, checkpoints) })));
    examined.value = { answer, checkpoint, checkpoints, anchors, tookMs: performance.now() - start };
    if (answer.checkpoint !== null) void follow(answer.checkpoint, true);
  } catch (error) {
    examineError.value = bad(error);
  } finally {
    examining.value = false;
  }
}
