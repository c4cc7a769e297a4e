// The verifier of evidence bundles: a file in, one verdict out. Checks, their order and the words they give: docs/format.md,
// "Evidence bundle"; the same as appliance/evidence. Total: any input gives a report, and never a good one for evidence that
// is not whole and right. Memory: that of one member.
import { type Bytes, Malformed, sha256, toHex } from '../bytes.js';
import { FOLDER, type Member, PROOFS_MAX, REQUIRED, comesBefore, parseName } from './format.js';
import { checkEpochs, earlierVerdicts } from './epochs.js';
import { checkIdentity, checkSince } from './identity.js';
import { decodeText } from './members.js';
import { RecordsCheck } from './records.js';
import { type BundleCheck, type BundleRecord, type CheckName, type Facts, type Policy, VerifyState, type Word, reason } from './state.js';
import { checkTpm } from './tpm_checks.js';
import { type Source, readUstar } from './ustar.js';
import { checkWitnesses } from './witnesses.js';

export interface Report {
  word: Word;
  good: boolean;
  qualifiers: string[];
  detail: string;
  place: string;
  checks: BundleCheck[];
  unchecked: string[];
  facts: Facts;
}

/** What nobody can leave out: skipped for want of a dependency, the verdict cannot be good. */
const NEEDED: CheckName[] = [
  'archive', 'bundle', 'provisioning', 'attestation_key', 'registers', 'checkpoint', 'quote', 'counter', 'index', 'boot', 'receipt',
  'anchors', 'pcr_log', 'records', 'manifest'];

export interface Watcher {
  progress?(read: number, size: number): void;
  /** A record that its entry commits to: proven only when the report is good. */
  record?(record: BundleRecord): void;
}

interface ManifestRow { name: string; size: number; sha256: string }

class Verifier {
  private readonly state: VerifyState;
  private current: Member | undefined;
  private records: RecordsCheck | undefined;
  private readonly files: ManifestRow[] = [];    // what the manifest must list
  private proofs = 0;
  private manifestSeen = false;

  constructor(policy: Policy, private readonly source: Source, private readonly watcher: Watcher) {
    this.state = new VerifyState(policy);
  }

  async run(): Promise<Report> {
    const { checks } = this.state;
    try {
      await readUstar(this.source, (name) => this.admit(name), (content, read) => this.take(content, read));
      await this.begin();
      if (!this.manifestSeen) throw new Malformed('manifest.json is missing');
    } catch (error) {
      checks.fail('archive', 'DAMAGED', reason(error), this.current === undefined ? '' : `${FOLDER}${this.current.name}`);
    }
    checks.pass('archive', 'whole, and nothing else in it');
    await this.records?.finish();
    await checkWitnesses(this.state);
    checkEpochs(this.state);
    await checkSince(this.state);
    return this.judge();
  }

  private admit(name: string): number {
    if (name.startsWith('/') || name.includes('..')) throw new Malformed('archive: a member whose name leads elsewhere');
    const member = name.startsWith(FOLDER) ? parseName(name.slice(FOLDER.length)) : undefined;
    if (member === undefined) throw new Malformed('archive: a member that has no place in a bundle');
    if (this.current !== undefined && !comesBefore(this.current, member)) {
      throw new Malformed(`archive: a member twice, or not in its order: ${member.name}`);
    }
    this.current = member;
    if (member.kind === 'proof' && ++this.proofs > PROOFS_MAX) throw new Malformed('archive: too many proofs');
    return member.bytesMax;
  }

  private async take(content: Bytes, read: number): Promise<void> {
    const member = this.current;
    if (member === undefined) return;
    this.watcher.progress?.(read, this.source.size);
    if (member.kind !== 'once') await this.begin();
    if (member.kind === 'manifest') return this.checkManifest(content);
    this.files.push({ name: member.name, size: content.length, sha256: toHex(await sha256(content)) });
    switch (member.kind) {
      case 'once': this.state.members.set(member.name, content); break;
      case 'proof': this.records?.takeProof(member, content); break;
      case 'chunk': await this.records?.takePart(member, content); break;
      case 'end': await this.records?.takeEnd(content); break;
      case 'page': this.state.facts.pageSha256 = toHex(await sha256(content)); break;
    }
  }

  /** Everything before the records is here. */
  private async begin(): Promise<void> {
    if (this.records !== undefined) return;
    for (const name of REQUIRED) {
      if (!this.state.members.has(name)) this.state.checks.fail('archive', 'DAMAGED', `${name} is missing`, `${FOLDER}${name}`);
    }
    await checkIdentity(this.state);
    await checkTpm(this.state);
    this.records = new RecordsCheck(this.state, (record) => this.watcher.record?.(record));
  }

  private checkManifest(content: Bytes): void {
    this.manifestSeen = true;
    const fail = (why: string, place: string): void => this.state.checks.fail('manifest', 'DAMAGED', why, place);
    let listed: unknown;
    try {
      listed = (JSON.parse(decodeText(content)) as { files?: unknown } | null)?.files;
    } catch {
      listed = undefined;
    }
    if (!Array.isArray(listed)) return fail('not a manifest', 'manifest.json');
    for (let i = 0; i < Math.max(listed.length, this.files.length); i++) {
      const file = this.files[i];
      const row = listed[i] as Partial<ManifestRow> | null | undefined;
      const same = file !== undefined && row?.name === file.name && row.size === file.size && row.sha256 === file.sha256 &&
        Object.keys(row).length === 3;
      if (!same) return fail('a file is not the one the manifest lists', file?.name ?? 'manifest.json');
    }
    this.state.checks.pass('manifest', `${this.files.length} files as listed`);
  }

  private judge(): Report {
    const { facts, unchecked } = this.state;
    const checks = this.state.checks.inOrder();
    const passed = (name: CheckName): boolean => this.state.checks.passed(name);
    const qualifiers = [
      ...(passed('pin') ? [] : ['UNPINNED']), ...(facts.software ? ['SOFTWARE_TPM'] : []), ...(this.state.gap ? ['GAP'] : []),
      ...earlierVerdicts(this.state)];
    const report = (word: Word, detail: string, place = ''): Report =>
      ({ word, good: word === 'OK' || word === 'OK_UNANCHORED_TAIL', qualifiers, detail, place, checks, unchecked, facts });

    const failures = checks.filter((check) => check.result === 'failed');
    // What cannot be told never stands before what is wrong.
    const failed = failures.find((check) => check.word !== 'CANNOT_TELL') ?? failures[0];
    if (failed !== undefined) return report(failed.word ?? 'CANNOT_TELL', `${failed.name}: ${failed.detail}`, failed.place);
    const missing = NEEDED.find((name) => !passed(name));
    if (missing !== undefined) return report('CANNOT_TELL', `${missing} could not be checked`);
    const tail = Math.max(0, facts.size - facts.anchoredSize);
    const proven = `${facts.records} entries proven`;
    if (tail === 0) return report('OK', proven);
    return report('OK_UNANCHORED_TAIL', `${proven}; ${tail} entries of the log lie above its newest anchor: until the next one they ` +
      'survive a reboot on signatures alone');
  }
}

export const verifyBundle = (source: Source, policy: Policy, watcher: Watcher = {}): Promise<Report> =>
  new Verifier(policy, source, watcher).run();

/** What a good bundle proves, and what no bundle does. */
export function statementOf({ good, facts }: Report): string {
  if (!good) return 'This bundle does not prove what it holds.';
  return 'Every entry in this bundle is authentic: it was in the log, at its place, when the TPM signed.' +
    (facts.selectionKind === 'range' && facts.contiguous && !facts.limited
      ? ' Its entries follow one another without a gap: none of the range is missing.'
      : ' That the selection found every entry it should have found, a bundle does not prove.') +
    (facts.payloads ? '' : ' Payloads are not in it: entries prove time, length and place only.') +
    ' What happened before an entry reached the log, and what lies above the checkpoint, it does not show.';
}
