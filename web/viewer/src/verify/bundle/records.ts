// The entries and what they hold: one pass over all chunks, in memory of one (docs/format.md, "Records").
import { type Bytes, Malformed, equal, fromBase64, toBase64, toHex } from '../bytes.js';
import { ENTRY_BYTES, type Entry, commitPayload, decodeEntry } from '../entry.js';
import { leafHash, verifyInclusion } from '../merkle.js';
import { CHUNK_PARTS, type ChunkPart, type Member, PEER_BYTES, SALT_BYTES } from './format.js';
import { decodeText } from './members.js';
import { type BundleRecord, type VerifyState, reason } from './state.js';
import { Hashes, TreeWalk } from './tree_walk.js';

const BATCH = 512;      // entries hashed side by side

class Misplaced extends Malformed {
  constructor(readonly place: string, why: string) {
    super(why);
  }
}

/** The hashes of a tlog-proof (C2SP) of this entry in this checkpoint, which has one form only. */
function parseProof(text: string, sequence: number, note: string): Bytes[] {
  const hashes: Bytes[] = [];
  for (const line of text.split('\n').slice(2)) {
    if (line === '' || hashes.length === 64) break;
    hashes.push(fromBase64(line));
  }
  const lines = hashes.map((hash) => `${toBase64(hash)}\n`).join('');
  if (hashes.some((hash) => hash.length !== 32) || text !== `c2sp.org/tlog-proof@v1\nindex ${sequence}\n${lines}\n${note}`) {
    throw new Malformed('not a tlog-proof of this entry in this checkpoint');
  }
  return hashes;
}

export class RecordsCheck {
  private readonly walk: TreeWalk | undefined;
  private ended = false;                                 // the closing gap has come
  private parts: Partial<Record<ChunkPart, Bytes>> = {};
  private nextChunk = 0;
  private nextPart = 0;
  private last: { sequence: number; leaf: Bytes } | undefined;
  private readonly proofs = new Map<number, Bytes[]>();
  private readonly provenLeaves = new Map<number, Bytes>();   // of the entries that have a proof file

  constructor(private readonly state: VerifyState, private readonly show: (record: BundleRecord) => void) {
    if (state.info === undefined || state.checkpoint === undefined) return;
    if ((state.info.marks.at(-1) ?? 0) > state.checkpoint.size) {
      this.fail('bundle.json marks a size that the checkpoint does not have', 'bundle.json');
    }
    this.walk = new TreeWalk(state.checkpoint.size, state.info.marks);
  }

  private fail(detail: string, place = ''): void {
    this.state.checks.fail('records', 'TAMPERED', detail, place);
  }

  takeProof(member: Member & { kind: 'proof' }, content: Bytes): void {
    try {
      this.proofs.set(member.sequence, parseProof(decodeText(content), member.sequence, this.state.text('checkpoint')));
    } catch (error) {
      this.state.checks.fail('proofs', 'TAMPERED', reason(error), member.name);
    }
  }

  /** The parts of a chunk in their order; with the last one it is checked. */
  async takePart(member: Member & { kind: 'chunk' }, content: Bytes): Promise<void> {
    if (this.walk === undefined || this.state.checks.failed('records')) return;
    if (member.chunk !== this.nextChunk || member.part !== CHUNK_PARTS[this.nextPart]) {
      return this.fail('not the next part of the records', member.name);
    }
    this.parts[member.part] = content;
    this.nextPart++;
    if (member.part !== (this.state.info?.payloads === true ? 'payloads' : 'tree')) return;
    try {
      await this.checkChunk(this.walk);
    } catch (error) {
      return this.fail(reason(error), error instanceof Misplaced ? error.place : `records/${String(member.chunk).padStart(6, '0')}.entries`);
    }
    this.parts = {};
    this.nextPart = 0;
    this.nextChunk++;
  }

  async takeEnd(tree: Bytes): Promise<void> {
    if (this.walk === undefined || this.state.checks.failed('records')) return;
    this.ended = true;
    if (this.nextPart !== 0) return this.fail('the last chunk is not whole', 'records/end.tree');
    try {
      const hashes = new Hashes(tree);
      await this.walk.skipTo(this.state.facts.size, hashes);
      if (hashes.atEnd()) return;
    } catch {
      // the same fault
    }
    this.fail('not exactly the hashes behind the last entry', 'records/end.tree');
  }

  private part(name: ChunkPart): Bytes {
    return this.parts[name] ?? new Uint8Array();
  }

  private async checkChunk(walk: TreeWalk): Promise<void> {
    const entries = this.part('entries');
    const count = entries.length / ENTRY_BYTES;
    const disclosed = this.state.info?.payloads === true;
    if (count === 0 || !Number.isInteger(count)) throw new Malformed('not whole entries');
    if (disclosed && (this.part('salts').length !== count * SALT_BYTES || this.part('peers').length !== count * PEER_BYTES)) {
      throw new Malformed('not one salt and one peer for each entry');
    }
    const tree = new Hashes(this.part('tree'));
    let payloadAt = 0;
    for (let begin = 0; begin < count; begin += BATCH) {
      const batch = await Promise.all(Array.from({ length: Math.min(BATCH, count - begin) }, (_, i) => {
        const bytes = entries.slice((begin + i) * ENTRY_BYTES, (begin + i + 1) * ENTRY_BYTES);
        const entry = decodeEntry(bytes);
        const at = payloadAt;
        if (disclosed) payloadAt += entry.payloadLength;
        return this.hashEntry(entry, bytes, begin + i, disclosed ? at : undefined);
      }));
      for (const one of batch) await this.placeEntry(walk, tree, one);
    }
    if (!tree.atEnd()) throw new Malformed("the tree's hashes are not exactly those needed");
    if (payloadAt !== this.part('payloads').length) throw new Malformed('the payloads are not as long as their entries say');
  }

  private async hashEntry(entry: Entry, bytes: Bytes, i: number, payloadAt: number | undefined) {
    const leaf = leafHash(bytes);
    if (payloadAt === undefined) return { entry, leaf: await leaf, payload: undefined, committed: true };
    const payload = this.part('payloads').slice(payloadAt, payloadAt + entry.payloadLength);
    const commitment = commitPayload(
      this.part('salts').subarray(i * SALT_BYTES, (i + 1) * SALT_BYTES), this.part('peers').subarray(i * PEER_BYTES, (i + 1) * PEER_BYTES),
      payload);
    const committed = payload.length === entry.payloadLength && equal(await commitment, entry.commitment);
    return { entry, leaf: await leaf, payload, committed };
  }

  private async placeEntry(
    walk: TreeWalk, tree: Hashes, one: { entry: Entry; leaf: Bytes; payload: Bytes | undefined; committed: boolean }): Promise<void> {
    const { entry, leaf, payload } = one;
    const misplaced = (why: string): never => {
      throw new Misplaced(`record ${entry.sequence}`, why);
    };
    try {
      await walk.skipTo(entry.sequence, tree);
    } catch (error) {
      misplaced(reason(error));
    }
    if (entry.sequence >= this.state.facts.size) misplaced('it lies above the checkpoint');
    if (this.last === undefined && entry.sequence !== 0) misplaced('entry 0, which names the log, is missing');
    const before = this.last === undefined ? this.state.info?.logId
      : this.last.sequence + 1 === entry.sequence ? this.last.leaf : undefined;
    if (before !== undefined && !equal(entry.previous, before)) {
      misplaced(entry.sequence === 0 ? 'entry 0 is of another log' : 'the chain breaks here');
    }
    this.last = { sequence: entry.sequence, leaf };
    if (this.proofs.has(entry.sequence)) this.provenLeaves.set(entry.sequence, leaf);
    await walk.push(leaf);
    if (!one.committed) misplaced('its payload is not the one it commits to');
    this.note(entry, payload !== undefined);
    this.show({ entry, payload });
  }

  private note(entry: Entry, disclosed: boolean): void {
    const { facts } = this.state;
    facts.records++;
    if (disclosed) facts.disclosed++;
    if (entry.sequence === 0) return;
    const first = facts.last === 0;
    facts.contiguous = first || (facts.contiguous && entry.sequence === facts.last + 1);
    if (first) facts.first = entry.sequence;
    facts.last = entry.sequence;
  }

  async finish(): Promise<void> {
    const { checks, facts, checkpoint, info } = this.state;
    const skip = (why: string): void => {
      for (const name of ['records', 'marks', 'proofs'] as const) checks.skip(name, why);
    };
    if (this.walk === undefined || checkpoint === undefined) return skip('there is no checkpoint to lead to');
    const root = await this.walk.root();
    if (!this.ended) {
      this.fail('the end of the records is missing', 'records/end.tree');
    } else if (this.walk.end !== checkpoint.size || !equal(root, checkpoint.root)) {
      this.fail('the entries do not lead to the root of the checkpoint');
    } else if (facts.records !== info?.records) {
      this.fail('not as many entries as bundle.json says', 'bundle.json');
    }
    if (checks.failed('records')) return skip('the records failed');
    this.state.roots = this.walk.roots.set(checkpoint.size, toHex(root));
    checks.pass('records', `${facts.records} entries in their places, ${facts.disclosed} payloads as committed`);
    this.checkMarks();
    await this.checkProofs();
  }

  private checkMarks(): void {
    const { checks, anchoredRoots, roots } = this.state;
    for (const [size, root] of anchoredRoots) {
      const proven = roots.get(size);
      if (proven === root) continue;
      return checks.fail('marks', 'TAMPERED', proven === undefined
        ? 'no proof that an anchored log of this size is a beginning of this one'
        : 'an anchored log of this size was another one', `size ${size}`);
    }
    checks.pass('marks', `${anchoredRoots.size} anchored sizes are beginnings of this log`);
  }

  private async checkProofs(): Promise<void> {
    const { checks, checkpoint } = this.state;
    for (const [sequence, proof] of this.proofs) {
      const leaf = this.provenLeaves.get(sequence);
      const leads = leaf !== undefined && checkpoint !== undefined &&
        await verifyInclusion(sequence, checkpoint.size, leaf, proof, checkpoint.root);
      if (leads) continue;
      return checks.fail('proofs', 'TAMPERED', 'the proof does not lead from its entry to the checkpoint', `proofs/${sequence}.tlog-proof`);
    }
    checks.pass('proofs', `${this.proofs.size} tlog-proofs`);
  }
}
