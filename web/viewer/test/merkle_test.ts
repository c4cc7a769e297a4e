// Goal: RFC 9162 proofs are accepted when and only when they are right. Method: every index of every small tree against the
// recursive definition of RFC 6962 section 2.1, every kind of damage, and arithmetic above 2^32.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bytes } from './support.js';
import { Tree, sha256 as nodeSha256 } from '../../../tests/browser/fixture_log.mjs';
import { leafHash, nodeHash, verifyConsistency, verifyInclusion } from '../src/verify/merkle.js';
import { fromHex, toHex } from '../src/verify/bytes.js';

const SIZE = 41;
const tree = new Tree();
for (let i = 0; i < SIZE; i++) tree.leaves.push(nodeSha256(Buffer.from([0]), Buffer.from(`entry ${i}`)));
const root = (n: number): Uint8Array<ArrayBuffer> => bytes(tree.root(0, n));
const inclusion = (i: number, n: number): Uint8Array<ArrayBuffer>[] => tree.inclusion(i, 0, n).map(bytes);
const consistency = (m: number, n: number): Uint8Array<ArrayBuffer>[] => tree.consistency(m, 0, n).map(bytes);
const leaf = (i: number): Uint8Array<ArrayBuffer> => bytes(tree.leaves[i] ?? Buffer.alloc(0));

test('a leaf is hashed with 0x00 and a node with 0x01', async () => {
  // RFC 6962's well-known test vectors: the empty leaf, and the node of two leaves.
  assert.equal(toHex(await leafHash(new Uint8Array())), '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d');
  const l = await leafHash(new Uint8Array());
  const r = await leafHash(new Uint8Array([0]));
  assert.equal(toHex(await nodeHash(l, r)), 'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125');
});

test('every leaf of every tree up to 41 is included', async () => {
  for (let n = 1; n <= SIZE; n++) {
    for (let i = 0; i < n; i++) assert.ok(await verifyInclusion(i, n, leaf(i), inclusion(i, n), root(n)), `${i} of ${n}`);
  }
});

test('a wrong index, size, leaf, root or path is refused', async () => {
  for (const [i, n] of [[0, 1], [0, 2], [6, 7], [7, 8], [8, 9], [20, 41], [40, 41]] as const) {
    const path = inclusion(i, n);
    for (let other = 0; other < n; other++) {
      if (other !== i) assert.ok(!(await verifyInclusion(other, n, leaf(i), path, root(n))), `index ${other} for ${i}`);
    }
    assert.ok(!(await verifyInclusion(n, n, leaf(i), path, root(n))), 'index = size');
    assert.ok(!(await verifyInclusion(-1, n, leaf(i), path, root(n))));
    assert.ok(!(await verifyInclusion(i + 0.5, n, leaf(i), path, root(n))));
    assert.ok(!(await verifyInclusion(i, n, root(n + 1 > SIZE ? 1 : n + 1), path, root(n))), 'another leaf');
    assert.ok(!(await verifyInclusion(i, n, leaf(i), path, leaf(i === 0 ? 1 : 0))), 'another root');
    assert.ok(!(await verifyInclusion(i, n, leaf(i), [...path, leaf(0)], root(n))), 'one sibling too many');
    if (path.length > 0) assert.ok(!(await verifyInclusion(i, n, leaf(i), path.slice(1), root(n))), 'one too few');
    if (path.length > 1) assert.ok(!(await verifyInclusion(i, n, leaf(i), [...path].reverse(), root(n))), 'another order');
    for (let k = 0; k < path.length; k++) {
      const damaged = path.map((p) => bytes(p));
      (damaged[k] as Uint8Array)[k % 32] = ((damaged[k] as Uint8Array)[k % 32] ?? 0) ^ 1;
      assert.ok(!(await verifyInclusion(i, n, leaf(i), damaged, root(n))), 'one bit of a sibling');
      damaged[k] = new Uint8Array(31);
      assert.ok(!(await verifyInclusion(i, n, leaf(i), damaged, root(n))), 'a short sibling');
    }
  }
});

test('every pair of trees up to 41 is consistent', async () => {
  for (let n = 1; n <= SIZE; n++) {
    for (let m = 1; m <= n; m++) assert.ok(await verifyConsistency(m, n, root(m), root(n), consistency(m, n)), `${m} to ${n}`);
  }
});

test('a consistency proof with any damage is refused', async () => {
  for (const [m, n] of [[1, 2], [3, 7], [4, 7], [6, 8], [8, 8], [16, 41], [40, 41], [27, 33]] as const) {
    const proof = consistency(m, n);
    assert.ok(!(await verifyConsistency(m, n, root(m), root(n - 1 || 2), proof)), 'another second root');
    assert.ok(!(await verifyConsistency(m, n, root(m + 1 > SIZE ? 1 : m + 1), root(n), proof)), 'another first root');
    assert.ok(!(await verifyConsistency(m, n, root(m), root(n), [...proof, root(1)])), 'one too many');
    if (proof.length > 0) assert.ok(!(await verifyConsistency(m, n, root(m), root(n), proof.slice(0, -1))), 'one too few');
    if (m !== n) assert.ok(!(await verifyConsistency(m, n, root(m), root(n), [])), 'none');
    assert.ok(!(await verifyConsistency(n, m, root(n), root(m), proof)) || m === n, 'backwards');
    for (let k = 0; k < proof.length; k++) {
      const damaged = proof.map((p) => bytes(p));
      (damaged[k] as Uint8Array)[5] = ((damaged[k] as Uint8Array)[5] ?? 0) ^ 0x10;
      assert.ok(!(await verifyConsistency(m, n, root(m), root(n), damaged)), 'one bit');
    }
  }
  assert.ok(!(await verifyConsistency(0, 5, root(1), root(5), [])), 'the empty tree says nothing');
});

test('indices beyond 2^32 are not cut to 32 bits', async () => {
  // The last leaf of a tree of 2^40 + 1: its path is one hash, the root of the whole left sub-tree.
  const left = fromHex('11'.repeat(32));
  const last = leaf(3);
  const size = 2 ** 40 + 1;
  const top = await nodeHash(left, last);
  assert.ok(await verifyInclusion(2 ** 40, size, last, [left], top));
  assert.ok(!(await verifyInclusion(2 ** 40 - 2 ** 32, size, last, [left], top)));
  assert.ok(!(await verifyInclusion(0, size, last, [left], top)));
  assert.ok(await verifyConsistency(2 ** 40, size, left, top, [last]));
  assert.ok(!(await verifyConsistency(2 ** 40 - 2 ** 33, size, left, top, [last])));
});
