// Whether others saw this log: the cosigned checkpoint that the bundle carries, judged by the auditor's own policy. The box's
// policy rides in the bundle for information; nothing here reads it. The same as appliance/evidence/verify_witnesses.cc.
import { toHex } from '../bytes.js';
import { parseNote } from '../note.js';
import { type WitnessPolicy, quorumMet, witnessesOf } from '../witness.js';
import { type VerifyState, WITNESS_MAX_AGE_S, type Word, openCheckpoint, reason } from './state.js';

const PLACE = 'witnesses/cosigned.note';

const fail = (state: VerifyState, word: Word, detail: string): void => state.checks.fail('witnesses', word, detail, PLACE);

/** The cosigned checkpoint is a beginning of this log: so say its signature and the roots that the records proved. */
async function continuesInThisLog(state: VerifyState): Promise<boolean> {
  let opened;
  try {
    if (state.key === undefined) return false;
    opened = await openCheckpoint(state.text(PLACE), state.key);
  } catch (error) {
    fail(state, 'TAMPERED', `the cosigned checkpoint is not signed by this log: ${reason(error)}`);
    return false;
  }
  const sizes = `${opened.size} entries cosigned, ${state.facts.size} quoted`;
  const root = state.roots.get(opened.size);
  if (opened.size > state.facts.size) {
    fail(state, 'ROLLED_BACK', `the witnesses have seen a larger log: ${sizes}`);
  } else if (root === undefined) {
    fail(state, 'CANNOT_TELL', `no proof that the cosigned checkpoint is a beginning of this log: ${sizes}`);
  } else if (root !== toHex(opened.root)) {
    fail(state, 'TAMPERED', `the witnesses have seen another history: ${sizes}`);
  } else {
    state.facts.witnessed.size = opened.size;
    return true;
  }
  return false;
}

/** Either way, so that neither a witness's clock nor the box's can make an old word new. */
function isFresh(state: VerifyState, timeS: bigint, limitS: number): boolean {
  const quotedS = Math.floor((state.audit?.wallNs ?? 0) / 1e9);
  return limitS === 0 || Math.abs(Number(timeS) - quotedS) <= limitS;
}

/** The size that a receipt brought by the auditor proves the witnesses had seen by then; 0: it proves none. */
async function sizeSeenBefore(state: VerifyState, policy: WitnessPolicy): Promise<number> {
  const note = state.policy.sinceNote;
  if (note === undefined || state.key === undefined) return 0;
  try {
    const { size } = await openCheckpoint(note, state.key);
    const seen = await witnessesOf(policy, parseNote(note));
    return quorumMet(policy, new Set(seen.filter((one) => one.timeS !== undefined).map((one) => one.name))) ? size : 0;
  } catch {
    return 0;
  }
}

async function judge(state: VerifyState, policy: WitnessPolicy): Promise<void> {
  const { witnessed } = state.facts;
  const limitS = state.policy.witnessMaxAgeS ?? WITNESS_MAX_AGE_S;
  try {
    witnessed.witnesses = (await witnessesOf(policy, parseNote(state.text(PLACE)))).map((one) =>
      ({ ...one, fresh: one.timeS !== undefined && isFresh(state, one.timeS, limitS) }));
  } catch (error) {
    return fail(state, 'TAMPERED', reason(error));
  }
  const cosigned = witnessed.witnesses.filter((one) => one.timeS !== undefined);
  const fresh = cosigned.filter((one) => one.fresh);
  const names = (some: { name: string }[]): Set<string> => new Set(some.map((one) => one.name));
  const counts = `${cosigned.length} of ${policy.witnesses.length} witnesses cosigned`;
  if (!quorumMet(policy, names(cosigned))) return fail(state, 'CANNOT_TELL', `no quorum: ${counts}`);
  if (!quorumMet(policy, names(fresh))) {
    return fail(state, 'CANNOT_TELL', `no quorum that is new enough: ${counts}, ${fresh.length} of them within ${limitS} s of the quote ` +
      '(--witness-max-age)');
  }
  const before = await sizeSeenBefore(state, policy);
  if (before > witnessed.size) {
    return fail(state, 'CANNOT_TELL', `the witnesses had cosigned ${before} entries when the receipt was made; here they cosign ` +
      `${witnessed.size}: an older word of theirs`);
  }
  witnessed.quorum = true;
  if (state.facts.last >= witnessed.size) {
    state.unchecked.push(`witnesses for the entries from ${witnessed.size} on: they cosigned those before`);
  }
  state.checks.pass('witnesses', `a quorum: ${counts} ${witnessed.size} entries, ${state.facts.size - witnessed.size} fewer than quoted`);
}

export async function checkWitnesses(state: VerifyState): Promise<void> {
  const policy = state.policy.witnesses;
  if (state.key === undefined || state.checkpoint === undefined) {
    return state.checks.skip('witnesses', 'there is no checkpoint to compare with');
  }
  state.facts.witnessed.judged = policy !== undefined;
  if (policy !== undefined && quorumMet(policy, new Set())) return state.checks.pass('witnesses', 'the given policy asks for none');
  if (!state.members.has(PLACE)) {
    if (policy === undefined) return state.checks.skip('witnesses', 'no witness policy was given');
    return fail(state, 'CANNOT_TELL', 'the bundle carries no cosigned checkpoint');
  }
  if (!(await continuesInThisLog(state))) return;
  if (policy !== undefined) return judge(state, policy);
  state.unchecked.push('the witnesses: whose cosignatures count is for you to say (--witness-policy)');
  state.checks.skip('witnesses', `a cosigned checkpoint of ${state.facts.witnessed.size} entries is a beginning of this log; no witness ` +
    'policy was given');
}
