// One pass over a selection of entries that ends in the root of the checkpoint: the gaps between entries come as the roots of
// their aligned subtrees (docs/format.md, "Records"). Sizes pass 2^32: by division and multiplication, never by shifts.
import { type Bytes, Malformed, sha256, toHex } from '../bytes.js';
import { nodeHash } from '../merkle.js';

/** The levels of the aligned subtrees that make [begin, end), left to right. */
export function subtreeLevels(begin: number, end: number): number[] {
  const levels: number[] = [];
  while (begin < end) {
    let level = 0;
    let size = 1;
    while (begin % (2 * size) === 0 && 2 * size <= end - begin) {
      size *= 2;
      level++;
    }
    levels.push(level);
    begin += size;
  }
  return levels;
}

/** Hashes of 32 bytes, one after the other. */
export class Hashes {
  private at = 0;
  constructor(private readonly bytes: Bytes) {}
  next(): Bytes {
    if (this.at + 32 > this.bytes.length) throw new Malformed("the tree's hashes end early");
    this.at += 32;
    return this.bytes.slice(this.at - 32, this.at);
  }
  atEnd(): boolean {
    return this.at === this.bytes.length;
  }
}

export class TreeWalk {
  end = 0;
  /** By size: every mark's root, in hexadecimal. */
  readonly roots = new Map<number, string>();
  private readonly stack: { level: number; hash: Bytes }[] = [];
  private nextMark = 0;

  /** marks ascend strictly, 0 < mark <= size. */
  constructor(private readonly size: number, private readonly marks: number[]) {}

  async skipTo(sequence: number, tree: Hashes): Promise<void> {
    if (sequence < this.end || sequence > this.size) throw new Malformed('entries that do not ascend, or lie outside the tree');
    while (this.end < sequence) {
      const mark = this.marks[this.nextMark] ?? sequence;
      for (const level of subtreeLevels(this.end, Math.min(mark, sequence))) await this.add(level, tree.next());
      await this.noteMark();
    }
  }

  async push(leaf: Bytes): Promise<void> {
    await this.add(0, leaf);
    await this.noteMark();
  }

  async root(): Promise<Bytes> {
    let root: Bytes | undefined;
    for (const { hash } of [...this.stack].reverse()) root = root === undefined ? hash : await nodeHash(hash, root);
    return root ?? sha256();
  }

  private async add(level: number, hash: Bytes): Promise<void> {
    this.end += 2 ** level;
    for (let top = this.stack.at(-1); top?.level === level; top = this.stack.at(-1)) {
      this.stack.pop();
      hash = await nodeHash(top.hash, hash);
      level++;
    }
    this.stack.push({ level, hash });
  }

  private async noteMark(): Promise<void> {
    if (this.marks[this.nextMark] !== this.end) return;
    this.roots.set(this.end, toHex(await this.root()));
    this.nextMark++;
  }
}
