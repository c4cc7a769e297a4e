// Who made this evidence: the provisioning record and its signature, the endorsement and attestation keys, the guarded
// registers, and the checkpoint's own signature. Then an earlier checkpoint against what the records proved.
import { pemToDer } from '../attest.js';
import { type Bytes, Malformed, equal, sha256, toHex } from '../bytes.js';
import { parseVerifierKey } from '../note.js';
import { ekNameOf } from './endorsement.js';
import { epochsOf, openEarlier } from './epochs.js';
import { decodeAudit, decodeBundleInfo, decodeRecord, type BundleInfo, type ProvisioningRecord } from './format.js';
import { decodeText } from './members.js';
import { type CheckName, type VerifyState, type Word, openCheckpoint, reason } from './state.js';
import { parseAttestationKey, parseDerSignature, pointOf, writtenNames } from './tpm_names.js';

/** Runs one check: what it returns is the detail, what it throws is why it failed. */
async function run(
  state: VerifyState, name: CheckName, word: Word, place: string, check: () => Promise<string> | string): Promise<boolean> {
  try {
    state.checks.pass(name, await check());
    return true;
  } catch (error) {
    state.checks.fail(name, word, reason(error), place);
    return false;
  }
}

function require(condition: boolean, otherwise: string): asserts condition {
  if (!condition) throw new Malformed(otherwise);
}

async function verifyWith(keyPem: string, data: Bytes, signatureDer: Bytes): Promise<boolean> {
  const key = await crypto.subtle.importKey('spki', pemToDer(keyPem), { name: 'ECDSA', namedCurve: 'P-256' }, false, ['verify']);
  return crypto.subtle.verify({ name: 'ECDSA', hash: 'SHA-256' }, key, parseDerSignature(signatureDer), data);
}

const checkBundle = (state: VerifyState): Promise<boolean> => run(state, 'bundle', 'DAMAGED', 'bundle.json', () => {
  const info = decodeBundleInfo(state.text('bundle.json'));
  const audit = decodeAudit(state.text('attest.json'));
  require(equal(info.logId, audit.logId) && equal(info.nonce, audit.nonce), 'bundle.json and attest.json are of different bundles');
  Object.assign(state.facts, {
    logId: toHex(info.logId), origin: info.origin, createdNs: info.createdNs, selectionKind: info.selectionKind,
    selectionText: info.selectionText, limited: info.limited, payloads: info.payloads, logSize: info.logSize });
  state.info = info;
  state.audit = audit;
  return `${info.selectionKind} of log ${state.facts.logId}`;
});

const checkProvisioning = (state: VerifyState, info: BundleInfo): Promise<boolean> =>
  run(state, 'provisioning', 'TAMPERED', 'provisioning/record.json', async () => {
    const record = state.bytes('provisioning/record.json');
    require(equal(await sha256(record), info.logId), "the record's SHA-256 is not the log id");
    require(await verifyWith(state.text('provisioning/key.pem'), record, state.bytes('provisioning/record.sig')),
      'the signature does not verify');
    const keyPem = state.text('provisioning/key.pem');
    const epochs = await epochsOf(state, decodeRecord(decodeText(record)), info.logId,
      (bytes, signature) => verifyWith(keyPem, bytes, signature));
    require(epochs.length - 1 === state.audit?.epoch, 'the TPM answered in another epoch');
    state.epochs = epochs;
    state.record = epochs[epochs.length - 1] as ProvisioningRecord;
    state.facts.software = state.record.softwareTpm;
    return 'signed by the key in the bundle; its SHA-256 is the log id';
  });

async function checkPin(state: VerifyState): Promise<void> {
  const pin = state.policy.pinPem;
  if (pin === undefined) {
    return state.checks.skip('pin', 'no pin was given: whether the provisioning key is the right one is not known');
  }
  await run(state, 'pin', 'TAMPERED', 'provisioning/key.pem', () => {
    require(equal(pointOf(pin), pointOf(state.text('provisioning/key.pem'))),
      'the record is signed by another key than the pinned one');
    return 'the provisioning key is the pinned one';
  });
}

async function checkEndorsement(state: VerifyState, record: ProvisioningRecord): Promise<void> {
  const certificate = state.bytes('tpm/ek.der');
  if (certificate.length === 0 && record.ekCertificate.length === 0) {
    return state.checks.skip('endorsement', 'the TPM carries no certificate: only the provisioning signature vouches for it');
  }
  await run(state, 'endorsement', 'TPM_REPLACED', 'tpm/ek.der', async () => {
    require(equal(certificate, record.ekCertificate), 'not the certificate that was provisioned');
    require(equal(await ekNameOf(certificate), record.ekName), 'the certificate is for another key than the pinned one');
    state.unchecked.push('the maker of the TPM: this page follows no certificate chain; use stele audit with --ek-root');
    return 'the certificate is for the pinned key; its chain is not checked on this page';
  });
}

const checkAttestationKey = (state: VerifyState, record: ProvisioningRecord): Promise<boolean> =>
  run(state, 'attestation_key', 'TPM_CLEARED', 'tpm/ak.tpm2b', async () => {
    const key = await parseAttestationKey(state.bytes('tpm/ak.tpm2b'));
    for (const pem of [state.text('tpm/ak.pem'), record.akPem]) {
      require(equal(key.point, pointOf(pem)), 'its PEM is of another key');
    }
    require(equal(state.bytes('tpm/ak.tpm2b'), record.akPublic) && equal(key.name, record.akName),
      'not the attestation key that was provisioned');
    return 'a restricted signing key of this TPM, as provisioned';
  });

const checkRegisters = (state: VerifyState, record: ProvisioningRecord): Promise<boolean> =>
  run(state, 'registers', 'ANCHOR_REDEFINED', 'provisioning/record.json', async () => {
    const names = await writtenNames(record.counterHandle, record.indexHandle, state.text('provisioning/key.pem'));
    require(equal(names.counter, record.counterName) && equal(names.index, record.indexName),
      'the Names of counter and index are not those of registers guarded by the provisioning key');
    return 'counter and index could be written first only with the provisioning key';
  });

const checkCheckpoint = (state: VerifyState, info: BundleInfo, record: ProvisioningRecord): Promise<boolean> =>
  run(state, 'checkpoint', 'TAMPERED', 'checkpoint', async () => {
    const key = await parseVerifierKey(state.text('log.vkey').replace(/\n$/, ''));
    require(record.checkpointKey.length === 0 || equal(record.checkpointKey, key.publicKey),
      'log.vkey: not the checkpoint key that was provisioned');
    const opened = await openCheckpoint(state.text('checkpoint'), key);
    require(opened.origin === info.origin && opened.origin === state.audit?.origin, "its origin is not the bundle's");
    require(equal(opened.digest, state.audit.digest), 'its digest is not the one that was quoted');
    require(opened.size > 0, 'a size no log has');
    state.facts.size = opened.size;
    state.key = key;
    state.checkpoint = opened;
    return `${opened.size} entries, signed by ${opened.origin}`;
  });

export async function checkIdentity(state: VerifyState): Promise<void> {
  if (!(await checkBundle(state)) || state.info === undefined) return;
  if (!(await checkProvisioning(state, state.info)) || state.record === undefined) return;
  await checkPin(state);
  await checkEndorsement(state, state.record);
  await checkAttestationKey(state, state.record);
  await checkRegisters(state, state.record);
  await checkCheckpoint(state, state.info, state.record);
}

export async function checkSince(state: VerifyState): Promise<void> {
  const note = state.policy.sinceNote;
  if (note === undefined) return state.checks.skip('since', 'no earlier receipt was given');
  if (state.key === undefined || state.checkpoint === undefined) {
    return state.checks.skip('since', 'there is no checkpoint to compare with');
  }
  const fail = (word: Word, detail: string): void => state.checks.fail('since', word, detail, 'receipt');
  let earlier;
  try {
    earlier = await openEarlier(state, note, state.key);
  } catch (error) {
    return fail('TAMPERED', `the receipt is not signed by this log's key: ${reason(error)}`);
  }
  const sizes = `${earlier.size} entries then, ${state.facts.size} now`;
  if (earlier.size > state.facts.size) return fail('ROLLED_BACK', `the receipt is for a larger log: ${sizes}`);
  const root = state.roots.get(earlier.size);
  if (root === undefined) {
    return fail('CANNOT_TELL', `the bundle holds no proof for size ${earlier.size}: make it with --since`);
  }
  if (root !== toHex(earlier.root)) return fail('TAMPERED', `this log does not continue the one of the receipt: ${sizes}`);
  state.checks.pass('since', `continues the log of the receipt: ${sizes}`);
}
