// What one audit has read and found so far, handed from check to check.
import { type Bytes, Malformed, concat, equal, sha256, toBase64, utf8 } from '../bytes.js';
import { type Attest } from '../attest.js';
import type { Entry } from '../entry.js';
import { type Checkpoint, type VerifierKey, openNote, parseCheckpoint, parseNote } from '../note.js';
import { type Audit, type BundleInfo, type ProvisioningRecord, type Receipt } from './format.js';
import { decodeText } from './members.js';
import type { WitnessPolicy } from '../witness.js';

/** Every check, in the order of docs/format.md: the first that failed gives the verdict, what cannot be told after what is wrong. */
export const CHECK_NAMES = [
  'archive', 'bundle', 'provisioning', 'pin', 'endorsement', 'attestation_key', 'registers', 'checkpoint', 'witnesses', 'quote',
  'nonce', 'counter', 'index', 'boot', 'receipt', 'anchors', 'pcr_log', 'boot_log', 'records', 'marks', 'proofs', 'expected_pcrs',
  'epochs', 'since', 'manifest'] as const;
export type CheckName = (typeof CHECK_NAMES)[number];

export type Word =
  'OK' | 'OK_UNANCHORED_TAIL' | 'CANNOT_TELL' | 'DAMAGED' | 'TAMPERED' | 'ROLLED_BACK' | 'TPM_REPLACED' | 'TPM_CLEARED' |
  'ANCHOR_REDEFINED' | 'FOREIGN_EXTEND';

export interface BundleCheck { name: CheckName; result: 'passed' | 'failed' | 'skipped'; detail: string; word?: Word; place?: string }

/** What the auditor brings; what is absent is listed as unchecked or qualifies the verdict. */
export interface Policy {
  nonce?: Bytes;
  pinPem?: string;
  expectedPcrs?: Map<number, Bytes>;
  sinceNote?: string;
  witnesses?: WitnessPolicy;
  /** How far a cosignature may lie from the quote's time, either way, in seconds; 0: as far as it likes. */
  witnessMaxAgeS?: number;
}
export const WITNESS_MAX_AGE_S = 24 * 3600;

/** One register, replayed from the firmware's event log. */
export interface BootRegister { pcr: number; events: number; value: string; quoted: boolean }
export interface WitnessSeen { name: string; timeS: bigint | undefined; fresh: boolean }

export interface OpenedCheckpoint extends Checkpoint { digest: Bytes }

/** A record for the screen, given as it is proven to match its entry; good only once the check `records` has passed. */
export interface BundleRecord { entry: Entry; payload: Bytes | undefined }

export interface Facts {
  logId: string;
  origin: string;
  createdNs: number;
  selectionKind: string;
  selectionText: string;
  limited: boolean;
  payloads: boolean;
  size: number;
  logSize: number;
  anchor: number;
  anchoredSize: number;
  records: number;
  disclosed: number;
  contiguous: boolean;
  first: number;
  last: number;
  software: boolean;
  pcrs: [number, string][];
  bootRegisters: BootRegister[];
  /** What the witnesses of the auditor's policy signed; size 0: the bundle carries nothing of theirs. */
  witnessed: { size: number; judged: boolean; quorum: boolean; witnesses: WitnessSeen[] };
  /** Of the verify.html in the bundle: to compare with a release's. */
  pageSha256: string;
}

export class CheckList {
  private readonly done = new Map<CheckName, BundleCheck>();
  pass(name: CheckName, detail: string): void {
    if (!this.done.has(name)) this.done.set(name, { name, result: 'passed', detail });
  }
  /** The first failure of a check stays. */
  fail(name: CheckName, word: Word, detail: string, place = ''): void {
    if (!this.failed(name)) this.done.set(name, { name, result: 'failed', detail, word, place });
  }
  skip(name: CheckName, detail: string): void {
    if (!this.done.has(name)) this.done.set(name, { name, result: 'skipped', detail });
  }
  passed(name: CheckName): boolean {
    return this.done.get(name)?.result === 'passed';
  }
  failed(name: CheckName): boolean {
    return this.done.get(name)?.result === 'failed';
  }
  inOrder(): BundleCheck[] {
    const names = CHECK_NAMES.filter((name) => name !== 'epochs' || this.done.has(name));   // only of a log that has more than one
    return names.map((name) => this.done.get(name) ?? { name, result: 'skipped', detail: 'not reached' });
  }
}

export class VerifyState {
  readonly checks = new CheckList();
  readonly unchecked: string[] = [];
  readonly members = new Map<string, Bytes>();     // those that come once
  readonly facts: Facts = {
    logId: '', origin: '', createdNs: 0, selectionKind: '', selectionText: '', limited: false, payloads: false, size: 0, logSize: 0,
    anchor: 0, anchoredSize: 0, records: 0, disclosed: 0, contiguous: false, first: 0, last: 0, software: false, pcrs: [],
    bootRegisters: [], witnessed: { size: 0, judged: false, quorum: false, witnesses: [] }, pageSha256: '' };

  // Filled by the check that proved it; absent when that failed.
  info?: BundleInfo;
  audit?: Audit;
  epochs: ProvisioningRecord[] = [];
  record?: ProvisioningRecord;                     // of the newest epoch, which made this evidence
  key?: VerifierKey;
  checkpoint?: OpenedCheckpoint;
  quote?: Attest;
  quotedPcr?: Bytes;
  counter?: { value: number; attest: Attest };
  index?: { value: Bytes; attest: Attest };
  receipt?: Receipt;
  receiptQuote?: Attest;
  roots = new Map<number, string>();               // by size: proven by the records
  readonly anchoredRoots = new Map<number, string>();  // by size: what the anchors' notes sign
  gap = false;                                     // boots without an anchor

  constructor(readonly policy: Policy) {}

  bytes(name: string): Bytes {
    return this.members.get(name) ?? new Uint8Array();
  }
  text(name: string): string {
    return decodeText(this.bytes(name));
  }
}

/** A checkpoint of this log, with the digest that is anchored: over its text and the log's own signature line. */
export async function openCheckpoint(note: string, key: VerifierKey): Promise<OpenedCheckpoint> {
  const text = await openNote(note, key);
  const checkpoint = parseCheckpoint(text);
  if (checkpoint.extensions.length !== 0) throw new Malformed('the checkpoint has extension lines');
  if (checkpoint.origin !== key.name) throw new Malformed("the checkpoint's origin is not the log's key name");
  const own = parseNote(note).signatures.find((line) => line.name === key.name && equal(line.id, key.id));
  const blob = own === undefined ? new Uint8Array() : concat(own.id, own.signature);
  return { ...checkpoint, digest: await sha256(utf8(`${text}\n\u2014 ${key.name} ${toBase64(blob)}\n`)) };
}

export const reason = (error: unknown): string => (error instanceof Error ? error.message : String(error));
