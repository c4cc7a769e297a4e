// Merkle proofs, SHA-256: leaf = H(0x00 || entry), node = H(0x01 || left || right).
// Tree sizes pass 2^32, so halves are taken by division; a shift would cut them to 32 bits.
import { type Bytes, concat, equal, sha256 } from './bytes.js';

const LEAF = new Uint8Array([0]);
const NODE = new Uint8Array([1]);
const PROOF_NODES_MAX = 64;

const half = (n: number): number => Math.floor(n / 2);
const odd = (n: number): boolean => n % 2 === 1;
const isSize = (n: number): boolean => Number.isSafeInteger(n) && n >= 0;

export const leafHash = (entry: Uint8Array): Promise<Bytes> => sha256(LEAF, entry);
export const nodeHash = (left: Uint8Array, right: Uint8Array): Promise<Bytes> => sha256(NODE, concat(left, right));

/** RFC 9162 section 2.1.3.2: is `leaf` entry number `index` of the tree with `size` leaves and this root? */
export async function verifyInclusion(
  index: number, size: number, leaf: Uint8Array, path: Uint8Array[], root: Uint8Array): Promise<boolean> {
  if (!isSize(index) || !isSize(size) || index >= size || path.length > PROOF_NODES_MAX) return false;
  if (leaf.length !== 32 || root.length !== 32 || path.some((p) => p.length !== 32)) return false;
  let fn = index;
  let sn = size - 1;
  let r = leaf;
  for (const p of path) {
    if (sn === 0) return false;
    if (odd(fn) || fn === sn) {
      r = await nodeHash(p, r);
      while (!odd(fn) && fn !== 0) {
        fn = half(fn);
        sn = half(sn);
      }
    } else {
      r = await nodeHash(r, p);
    }
    fn = half(fn);
    sn = half(sn);
  }
  return sn === 0 && equal(r, root);
}

/** RFC 9162 section 2.1.4.2 (the proofs of RFC 6962 section 2.1.2): is the second tree the first with leaves added? */
export async function verifyConsistency(
  first: number, second: number, firstRoot: Uint8Array, secondRoot: Uint8Array, proof: Uint8Array[]): Promise<boolean> {
  if (!isSize(first) || !isSize(second) || first === 0 || first > second || proof.length > 2 * PROOF_NODES_MAX) return false;
  if (firstRoot.length !== 32 || secondRoot.length !== 32 || proof.some((p) => p.length !== 32)) return false;
  if (first === second) return proof.length === 0 && equal(firstRoot, secondRoot);

  let fn = first - 1;
  let sn = second - 1;
  while (odd(fn)) {
    fn = half(fn);
    sn = half(sn);
  }
  // A whole first tree (a power of two) is itself the first node of the proof and is left out of it.
  const path = fn === 0 ? [firstRoot, ...proof] : [...proof];
  let fr = path.shift();
  if (fr === undefined) return false;
  let sr = fr;
  for (const c of path) {
    if (sn === 0) return false;
    if (odd(fn) || fn === sn) {
      fr = await nodeHash(c, fr);
      sr = await nodeHash(c, sr);
      while (!odd(fn) && fn !== 0) {
        fn = half(fn);
        sn = half(sn);
      }
    } else {
      sr = await nodeHash(sr, c);
    }
    fn = half(fn);
    sn = half(sn);
  }
  return sn === 0 && equal(fr, firstRoot) && equal(sr, secondRoot);
}
