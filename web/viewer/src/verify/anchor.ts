// Anchor receipts, checked in the browser: what the TPM signed about the log (docs/entries.md `anchor`, design of the anchor).
import { type Attest, openAuditedRead, parseAttest, quotedValue, verifyAttestSignature } from './attest.js';
import { type Bytes, fromBase64, fromHex, sha256, toHex, utf8 } from './bytes.js';
import type { Check } from './record.js';

/** contents_b64: only of an audited read, on TPMs without NV_Certify. */
export interface Attestation { attest_b64: string; signature_b64: string; pcr_values?: string[]; contents_b64?: string }

export interface AnchorData {
  seq: number;
  time: string;
  number: number;
  size: number;
  digest: string;
  counter: number;
  index: string;
  pcr: string;
  late?: boolean;
  quote: Attestation;
  certify_counter: Attestation;
  certify_index: Attestation;
  reset_count?: number;
  qualifying?: Qualifying;
}

/** Hexadecimal: what each of the three structures was made over. */
export interface Qualifying { quote: string; counter: string; index: string }

export interface Provisioning {
  ak_public_pem: string;
  ak_name?: string;
  ek_name?: string;
  counter_name: string;
  index_name: string;
  counter_start: number;
  index_start: string;
  software_tpm?: boolean;
  pcr?: number;
}

export interface CheckpointIntent {
  seq: number;
  time: string;
  size: number;
  root: string;
  note: string;
  intent?: { reset_count: number; restart_count: number; number: number; pcr_before: string; anchor: number };
}

export interface AnchorVerdict { ok: boolean; why: string; checks: Check[]; quote: Attest | null; signer: string }

const ANCHOR_PCR = 14;               // unless the provisioning record names another

/** Counters are certified as 8 bytes, big-endian. */
function counterValue(contents: Uint8Array): bigint {
  return contents.reduce((sum, byte) => sum * 256n + BigInt(byte), 0n);
}

class Examination {
  readonly checks: Check[] = [];
  constructor(private readonly akPem: string) {}

  add(name: string, ok: boolean | null, good: string, bad: string): void {
    this.checks.push({ name, ok, detail: ok === false ? bad : good });
  }

  /** Signature, type and qualifying data: common to the three attestations of a receipt. `index`: the pinned Name, hexadecimal. */
  async open(name: string, type: Attest['type'], data: Attestation, qualifying: string, index = ''): Promise<Attest | null> {
    try {
      const bytes = fromBase64(data.attest_b64);
      const parsed = parseAttest(bytes);
      const attest = parsed.type !== 'audit' || data.contents_b64 === undefined
        ? parsed : await openAuditedRead(parsed, fromBase64(data.contents_b64), fromHex(index));
      const signed = await verifyAttestSignature(this.akPem, bytes, fromBase64(data.signature_b64));
      this.add(`${name}: signature`, signed, 'ECDSA P-256 by the pinned attestation key', 'not signed by the pinned attestation key');
      this.add(`${name}: type`, attest.type === type, `TPM_GENERATED, ${parsed.type}`, `the structure is a ${attest.type}`);
      const bound = toHex(attest.extraData) === qualifying;
      this.add(`${name}: bound to this anchor`, bound, `qualifying data ${qualifying}`, 'the qualifying data is not that of this anchor');
      return attest;
    } catch (error) {
      this.add(name, false, '', error instanceof Error ? error.message : String(error));
      return null;
    }
  }
}

async function checkQuote(exam: Examination, anchor: AnchorData, pcr: number, quote: Attest): Promise<void> {
  const selected = quote.pcrs.map((p) => p.pcrs.join(' ')).join('; ');
  const listed = anchor.quote.pcr_values;
  const alone = quote.pcrs.length === 1 && quote.pcrs[0]?.pcrs.length === 1;
  if (listed === undefined && !alone) {
    exam.add('PCR', null, `the values of the quoted registers ${selected} are not in the receipt`, '');
    return;
  }
  const value = await quotedValue(quote, (listed ?? [anchor.pcr]).map(fromHex), pcr);
  exam.add('PCR', value !== undefined && toHex(value) === anchor.pcr, `PCR ${pcr} = ${anchor.pcr} (quoted: ${selected})`,
    value === undefined ? `the register values do not give the quoted digest of PCR ${selected}` : 'the quoted PCR is another');
}

/** `anchors` newest first or oldest first; the X-chain is checked where the predecessor is among them. */
export async function verifyAnchor(
  anchor: AnchorData, provisioning: Provisioning, logId: string, anchors: AnchorData[]): Promise<AnchorVerdict> {
  const exam = new Examination(provisioning.ak_public_pem);
  const expected = await qualifyingData(logId, anchor.number, anchor.digest);
  const quote = await exam.open('quote', 'quote', anchor.quote, expected.quote);
  const counter = await exam.open('counter', 'nv', anchor.certify_counter, expected.counter, provisioning.counter_name);
  const index = await exam.open('index', 'nv', anchor.certify_index, expected.index, provisioning.index_name);
  try {
    if (quote !== null) await checkQuote(exam, anchor, provisioning.pcr ?? ANCHOR_PCR, quote);
    if (counter !== null) {
      const value = counterValue(counter.nvContents);
      const good = counter.nvContents.length === 8 && counter.nvOffset === 0 && toHex(counter.nvName) === provisioning.counter_name &&
        value === BigInt(anchor.counter) && value === BigInt(provisioning.counter_start) + BigInt(anchor.number);
      exam.add('NV counter', good, `C = ${value} = start ${provisioning.counter_start} + anchor ${anchor.number}`,
        'the certified counter is not start + anchor number of the pinned index');
    }
    if (index !== null) {
      const good = index.nvContents.length === 32 && index.nvOffset === 0 && toHex(index.nvName) === provisioning.index_name &&
        toHex(index.nvContents) === anchor.index;
      exam.add('NV index', good, `X = ${anchor.index}`, 'the certified index value is not that of the receipt');
    }
    if (quote !== null && counter !== null && index !== null) {
      exam.add('one boot', quote.resetCount === counter.resetCount && quote.resetCount === index.resetCount &&
        (anchor.reset_count === undefined || anchor.reset_count === quote.resetCount),
        `reset count ${quote.resetCount} in all three`, 'the three attestations are of different boots');
    }
    await checkIndexChain(exam, anchor, provisioning, anchors);
  } catch (error) {
    exam.add('form', false, '', error instanceof Error ? error.message : String(error));
  }
  const bad = exam.checks.find((check) => check.ok === false);
  return {
    ok: bad === undefined, why: bad === undefined ? '' : `${bad.name}: ${bad.detail}`, checks: exam.checks, quote,
    signer: quote === null ? '' : toHex(quote.signer) };
}

/** X_a = SHA-256(X_(a-1) || digest_a), from the value at provisioning on, through all boots. */
async function checkIndexChain(
  exam: Examination, anchor: AnchorData, provisioning: Provisioning, anchors: AnchorData[]): Promise<void> {
  const before = anchor.number === 1
    ? provisioning.index_start : anchors.find((other) => other.number === anchor.number - 1)?.index;
  if (before === undefined) {
    exam.add('chain of anchors', null, `anchor ${anchor.number - 1} is not in this list`, '');
    return;
  }
  const next = await sha256(fromHex(before), fromHex(anchor.digest));
  exam.add('chain of anchors', toHex(next) === anchor.index, `follows anchor ${anchor.number - 1}`,
    `X is not H(X of anchor ${anchor.number - 1} || digest)`);
}

// qualifyingData := SHA-256("stele/qd/v1" || purpose || log id[32] || anchor number:u64 || d[32] || nonce[32])
// number little-endian; d the checkpoint's digest; the nonce of a receipt is all zero (appliance/anchor/entries.h).
export async function qualifyingData(logId: string, number: number, digest: string): Promise<Qualifying> {
  const count = new Uint8Array(8);
  new DataView(count.buffer).setBigUint64(0, BigInt(number), true);
  const one = async (purpose: string): Promise<string> =>
    toHex(await sha256(utf8(`stele/qd/v1${purpose}`), fromHex(logId), count, fromHex(digest), new Uint8Array(32)));
  return { quote: await one('receipt-quote'), counter: await one('certify-C'), index: await one('certify-X') };
}

/** PCR after a checkpoint = SHA-256(before || digest). */
export async function extendPcr(before: Bytes, digest: Bytes): Promise<Bytes> {
  return sha256(before, digest);
}
