// A log that went on with another TPM state: each epoch's record under the one provisioning key, in order, and each over a
// beginning of this log (docs/format.md, "Epochs"; the same as appliance/anchor/epochs and appliance/evidence/verify_epochs).
import { type Bytes, Malformed, equal, toHex } from '../bytes.js';
import { nodeHash } from '../merkle.js';
import { type VerifierKey } from '../note.js';
import { type ProvisioningRecord, decodeRecord } from './format.js';
import { Members, decodeText } from './members.js';
import { type OpenedCheckpoint, type VerifyState, openCheckpoint } from './state.js';
import { writtenNames } from './tpm_names.js';

const EPOCHS_MAX = 1000;
const TREE_LEVELS = 64;
const REASON_BYTES_MAX = 1024;

export interface EpochClaim {
  number: number;
  logId: Bytes;
  reason: string;
  logSize: number;
  logRoot: Bytes;
  logFrontier: Bytes[];
  verdicts: string[];
  anchor: number;
  anchoredSize: number;
  checkpointSize: number;
}

/** The member `epoch` of a provisioning record. */
export function decodeClaim(object: Members): EpochClaim {
  object.text('detail');
  const claim = {
    number: object.number('number'), logId: object.hash('log_id'), reason: object.text('reason'), logSize: object.number('log_size'),
    logRoot: object.hash('log_root'), logFrontier: object.hashes('log_frontier', TREE_LEVELS),
    verdicts: object.list('verdicts', EPOCHS_MAX).map((word) =>
      typeof word === 'string' && /^[A-Z_]{1,32}$/.test(word) ? word : object.bad('verdicts')),
    anchor: object.number('anchor'), anchoredSize: object.number('anchored_size'), checkpointSize: object.number('checkpoint_size') };
  const reasonBytes = new TextEncoder().encode(claim.reason).length;
  if (claim.number === 0 || claim.verdicts.length !== claim.number) object.bad('number');
  if (reasonBytes === 0 || reasonBytes > REASON_BYTES_MAX) object.bad('reason');
  if (claim.anchoredSize > claim.checkpointSize || claim.checkpointSize > claim.logSize) object.bad('checkpoint_size');
  return claim;
}

/** The right edge of a tree gives its root, the smaller subtrees first. */
async function checkFrontier(claim: EpochClaim): Promise<void> {
  let subtrees = 0;
  for (let rest = claim.logSize; rest > 0; rest = Math.floor(rest / 2)) subtrees += rest % 2;
  let root = claim.logFrontier.at(-1);
  for (const left of claim.logFrontier.slice(0, -1).reverse()) root = await nodeHash(left, root as Bytes);
  if (root === undefined || claim.logFrontier.length !== subtrees || !equal(root, claim.logRoot)) {
    throw new Malformed('provisioning record: member epoch');
  }
}

function require(condition: boolean, otherwise: string): asserts condition {
  if (!condition) throw new Malformed(otherwise);
}

async function checkNext(earlier: ProvisioningRecord[], record: ProvisioningRecord, logId: Bytes, keyPem: string): Promise<void> {
  const number = earlier.length;
  const claim = record.epoch;
  const no = `epoch ${number}: `;
  require(claim !== undefined, `${no}the record begins a log; it continues none`);
  await checkFrontier(claim);
  require(equal(claim.logId, logId), `${no}it continues another log`);
  require(claim.number === number, `${no}it has the number ${claim.number}`);
  require(record.origin === earlier[0]?.origin, `${no}it has another origin`);
  require(record.checkpointKey.length > 0, `${no}it names no checkpoint key`);
  for (const one of earlier) {
    require(!equal(one.akName, record.akName), `${no}its attestation key is an earlier one`);
    require(!equal(one.checkpointKey, record.checkpointKey), `${no}its checkpoint key is an earlier one`);
  }
  const before = earlier.at(-1)?.epoch;
  if (before !== undefined) {
    require(claim.logSize > before.logSize, `${no}it does not begin after the epoch before`);
    require(before.verdicts.every((word, i) => word === claim.verdicts[i]), `${no}it tells the end of an earlier epoch differently`);
  }
  const names = await writtenNames(record.counterHandle, record.indexHandle, keyPem);
  require(equal(names.counter, record.counterName) && equal(names.index, record.indexName),
    `${no}counter and index are not guarded by the provisioning key`);
}

/** Genesis and every later epoch, in order. */
export async function epochsOf(
  state: VerifyState, genesis: ProvisioningRecord, logId: Bytes,
  verified: (record: Bytes, signature: Bytes) => Promise<boolean>): Promise<ProvisioningRecord[]> {
  require(genesis.epoch === undefined, 'the provisioning record continues a log; it begins none');
  const all = [genesis];
  if (!state.members.has('provisioning/epochs.json')) return all;
  const list = Members.parse('epochs.json', state.text('provisioning/epochs.json')).children('epochs', EPOCHS_MAX);
  require(list.length > 0, 'epochs.json: not a list of records');
  for (const one of list) {
    const bytes = one.base64('record_b64');
    require(await verified(bytes, one.base64('signature_b64')), `epoch ${all.length}: its signature is not that of its key`);
    const record = decodeRecord(decodeText(bytes));
    await checkNext(all, record, logId, state.text('provisioning/key.pem'));
    all.push(record);
  }
  return all;
}

/** How the epochs before the newest ended: the verdict's qualifiers. */
export const earlierVerdicts = (state: VerifyState): string[] =>
  (state.record?.epoch?.verdicts ?? []).map((word, i) => `EPOCH_${i}_${word}`);

/** Every epoch began over a beginning of this log, as the records proved. */
export function checkEpochs(state: VerifyState): void {
  if (state.epochs.length < 2) return;
  if (!state.checks.passed('records')) return state.checks.skip('epochs', 'the records failed');
  const told: string[] = [];
  for (const { epoch } of state.epochs) {
    if (epoch === undefined) continue;
    if (state.roots.get(epoch.logSize) !== toHex(epoch.logRoot)) {
      return state.checks.fail('epochs', 'TAMPERED', `this log is not the one that epoch ${epoch.number} continued`,
        'provisioning/epochs.json');
    }
    told.push(`epoch ${epoch.number - 1} ended ${epoch.verdicts.at(-1) ?? ''} after anchor ${epoch.anchor}, epoch ${epoch.number} ` +
      `over ${epoch.logSize} entries: ${epoch.reason}`);
  }
  state.checks.pass('epochs', told.join('; '));
}

/** A checkpoint that this log signed, in whatever epoch: an earlier one's key signs nothing beyond its end. */
export async function openEarlier(state: VerifyState, note: string, key: VerifierKey): Promise<OpenedCheckpoint> {
  try {
    return await openCheckpoint(note, key);
  } catch (error) {
    for (const [i, record] of state.epochs.slice(0, -1).entries()) {
      const end = state.epochs[i + 1]?.epoch?.logSize ?? 0;
      const opened = await openCheckpoint(note, { ...key, publicKey: record.checkpointKey, id: await keyId(key.name, record.checkpointKey) })
        .catch(() => undefined);
      if (opened !== undefined && opened.size <= end) return opened;
    }
    throw error;
  }
}

// C2SP signed-note: the first four bytes of SHA-256(name || 0x0A || algorithm || key).
async function keyId(name: string, publicKey: Bytes): Promise<Bytes> {
  const text = new TextEncoder().encode(`${name}\n`);
  const input = new Uint8Array(text.length + 1 + publicKey.length);
  input.set(text);
  input[text.length] = 1;
  input.set(publicKey, text.length + 1);
  return new Uint8Array(await crypto.subtle.digest('SHA-256', input)).slice(0, 4);
}
