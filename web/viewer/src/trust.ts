// The trust this browser holds while it is open: the pinned keys, the judgement of each checkpoint, the newest tree seen.
// Everything that is verified is verified with the PINNED key: when the appliance shows another one, rows turn false.
import { computed, signal } from '@preact/signals';
import { type CheckpointData, type CheckpointVerdict, verifyCheckpoint } from './verify/record.js';
import { type VerifierKey, keyFingerprint, keyWords, parseVerifierKey } from './verify/note.js';
import { type Pin, type PinState, type Visit, changedMembers, loadPin, loadVisit, savePin, saveVisit } from './verify/pins.js';
import { fromHex, sha256, toHex } from './verify/bytes.js';
import { pemToDer } from './verify/attest.js';
import type { Provisioning } from './verify/anchor.js';
import { verifyConsistency } from './verify/merkle.js';
import { ApiError, type IntegrityAnswer, api } from './api.js';

export interface Alarm { id: string; title: string; detail: string }

export interface Identity {
  pin: Pin;
  state: PinState;
  changed: string[];
  seen: Omit<Pin, 'version' | 'since'>;
  key: VerifierKey;
  fingerprint: string;         // of the pinned log key
  words: string;               // the pinned log key again, pronounceable
  seenWords: string;           // of the log key shown now
  akFingerprint: string;       // of the pinned attestation key, '' when there is none
}

export interface Seen {
  size: number;
  root: string;
  at: number;                                   // ms, our clock
  step: 'first' | 'same' | 'grown' | 'unchecked';
  detail: string;
  visit: Visit | undefined;                     // what was remembered when this session began
}

export const alarms = signal<Alarm[]>([]);
export const identity = signal<Identity | null>(null);
export const identityError = signal('');
export const seen = signal<Seen | null>(null);
export const trusted = computed(() => identity.value !== null && identity.value.state !== 'changed' && alarms.value.length === 0);

const atStart = loadVisit(localStorage);

export function raise(id: string, title: string, detail: string): void {
  if (alarms.value.some((alarm) => alarm.id === id)) return;
  alarms.value = [...alarms.value, { id, title, detail }];
}

async function fingerprints(pin: Pin): Promise<Pick<Identity, 'key' | 'fingerprint' | 'words' | 'akFingerprint'>> {
  const key = await parseVerifierKey(pin.vkey);
  const ak = pin.akPem === '' ? '' : (toHex(await sha256(pemToDer(pin.akPem))).match(/.{4}/g) ?? []).slice(0, 8).join(' ');
  return { key, fingerprint: await keyFingerprint(key.publicKey), words: await keyWords(pin.vkey), akFingerprint: ak };
}

const registersText = (p: Provisioning | null): string =>
  (p === null ? '' : [p.pcr ?? 14, p.counter_name, p.counter_start, p.index_name, p.index_start].join(' '));

/** Compares what the appliance says of itself with the pin; the first visit makes the pin. */
export async function meet(answer: IntegrityAnswer): Promise<Identity> {
  const shown = {
    logId: answer.log_id, origin: answer.origin, vkey: answer.vkey, akPem: answer.provisioning?.ak_public_pem ?? '',
    registers: registersText(answer.provisioning) };
  let pin = loadPin(localStorage);
  let state: PinState = 'same';
  if (pin === undefined) {
    pin = { version: 1, ...shown, since: new Date().toISOString() };
    await fingerprints(pin);                    // never pin what does not parse
    savePin(localStorage, pin);
    state = 'first';
  }
  const changed = changedMembers(pin, shown);
  if (changed.length > 0) {
    state = 'changed';
    raise('pin', `The appliance shows another ${changed.join(', ')} than on your first visit`,
      'What you see is checked against the keys pinned then; do not rely on it before you know why. A new appliance at the same ' +
      'address, a new log, or somebody in between all look like this. The Integrity screen shows both.');
  } else if (pin.akPem === '' && shown.akPem !== '') {
    pin = { ...pin, akPem: shown.akPem, registers: shown.registers };
    savePin(localStorage, pin);
  }
  if (identity.value !== null && identity.value.state === 'first' && state === 'same') state = 'first';
  identity.value = { pin, state, changed, seen: shown, seenWords: await keyWords(shown.vkey), ...(await fingerprints(pin)) };
  return identity.value;
}

let meeting: Promise<Identity> | null = null;

export function ensureIdentity(): Promise<Identity> {
  if (identity.value !== null) return Promise.resolve(identity.value);
  meeting ??= api.integrity().then(meet).catch((error: unknown) => {
    meeting = null;
    identityError.value = error instanceof Error ? error.message : String(error);
    throw error;
  });
  return meeting;
}

/** After a deliberate act on the Integrity screen. The remembered tree belongs to the old log and goes with it. */
export function trustAnew(): void {
  const now = identity.value;
  if (now === null) return;
  savePin(localStorage, { version: 1, ...now.seen, since: new Date().toISOString() });
  localStorage.removeItem('stele.visit.v1');
  location.reload();
}

const judged = new Map<string, Promise<CheckpointVerdict>>();

/** The judgement of a checkpoint, once for each. Never rejects: what cannot be judged is not good. */
export function judge(checkpoint: CheckpointData): Promise<CheckpointVerdict> {
  const name = `${checkpoint.size} ${checkpoint.root} ${checkpoint.note}`;
  let verdict = judged.get(name);
  if (verdict === undefined) {
    verdict = ensureIdentity()
      .then((who) => verifyCheckpoint(checkpoint, who.key, who.pin.origin))
      .catch((error: unknown) => ({
        ok: false, why: `the log key is not known: ${error instanceof Error ? error.message : String(error)}`,
        size: -1, root: new Uint8Array(), checks: [] }));
    if (judged.size > 256) judged.clear();
    judged.set(name, verdict);
  }
  return verdict;
}

let queue: Promise<void> = Promise.resolve();

/**
 * Compares a checkpoint with the newest tree this browser has seen and demands a consistency proof between the two. `newest`:
 * the appliance claims that this is its newest one, so a smaller tree is a log rolled back.
 */
export function follow(checkpoint: CheckpointData, newest: boolean): Promise<void> {
  queue = queue.then(() => step(checkpoint, newest)).catch((error: unknown) => {
    raise('follow', 'The log could not be compared with your last visit', error instanceof Error ? error.message : String(error));
  });
  return queue;
}

async function step(checkpoint: CheckpointData, newest: boolean): Promise<void> {
  const verdict = await judge(checkpoint);
  if (!verdict.ok) {
    if (identity.value !== null) {
      raise('checkpoint', 'A checkpoint of this log does not verify', verdict.why);
    }
    return;
  }
  const root = toHex(verdict.root);
  const last = loadVisit(localStorage);
  const accept = (how: Seen['step'], detail: string, keep: boolean): void => {
    if (keep) saveVisit(localStorage, { size: verdict.size, root, time: new Date().toISOString() });
    seen.value = { size: verdict.size, root, at: Date.now(), step: how, detail, visit: atStart };
  };
  if (last === undefined) return accept('first', 'first visit: nothing to compare with', true);
  if (verdict.size === last.size) {
    if (root === last.root) return accept('same', 'the same tree as remembered', true);
    return raise('rewritten', 'The log was rewritten',
      `Two different trees of size ${last.size}, both signed: root ${last.root} was remembered, ${root} is shown now.`);
  }
  if (verdict.size < last.size && newest) {
    return raise('rolled-back', 'The log is shorter than you have already seen it',
      `This browser has seen ${last.size} entries (${last.time}); the appliance now says its newest tree has ${verdict.size}.`);
  }
  const [small, large] = verdict.size < last.size
    ? [{ size: verdict.size, root }, { size: last.size, root: last.root }]
    : [{ size: last.size, root: last.root }, { size: verdict.size, root }];
  let proof: string[];
  try {
    proof = (await api.consistency(small.size, large.size)).proof;
  } catch (error) {
    if (error instanceof ApiError && error.status !== 404 && verdict.size > last.size) {
      return accept('unchecked', `no consistency proof: ${error.message}`, false);
    }
    throw error;
  }
  const good = await verifyConsistency(small.size, large.size, fromHex(small.root), fromHex(large.root), proof.map(fromHex));
  if (!good) {
    return raise('inconsistent', 'The log does not contain the log you have seen before',
      `No consistency proof leads from ${small.size} entries (root ${small.root}) to ${large.size} (root ${large.root}).`);
  }
  if (verdict.size > last.size) accept('grown', `contains the ${last.size} entries seen before`, true);
}
