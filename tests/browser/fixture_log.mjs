// FIXTURE: a small real log for working on the viewer without an appliance. Real entries, Merkle trees, signatures and TPM
// structures, made by node's crypto; only the TPM is not there. The tests that count run against the real daemons.
import { createHash, generateKeyPairSync, randomBytes, sign } from 'node:crypto';

const KINDS = { syslog: 1, json: 2, source: 3, loss: 4, access: 5, checkpoint: 6, anchor: 7, policy: 8, alarm: 9, lifecycle: 10, clock: 11, epoch: 12 };
export const sha256 = (...parts) => parts.reduce((h, p) => h.update(p), createHash('sha256')).digest();
const node = (left, right) => sha256(Buffer.from([1]), left, right);
const u16be = (n) => Buffer.from([n >> 8, n & 255]);
const sized = (bytes) => Buffer.concat([u16be(bytes.length), bytes]);

/** RFC 6962 section 2.1, as written there: slow and plain. A memo of whole sub-trees makes it fast enough. */
export class Tree {
  leaves = [];
  memo = new Map();
  root(from, to) {
    const n = to - from;
    if (n === 0) return sha256();
    if (n === 1) return this.leaves[from];
    const key = `${from} ${to}`;
    let hash = this.memo.get(key);
    if (hash === undefined) {
      const k = Tree.split(n);
      hash = node(this.root(from, from + k), this.root(from + k, to));
      this.memo.set(key, hash);
    }
    return hash;
  }
  static split(n) {
    let k = 1;
    while (2 * k < n) k *= 2;
    return k;
  }
  inclusion(index, from, to) {
    if (to - from <= 1) return [];
    const k = Tree.split(to - from);
    return index < from + k ? [...this.inclusion(index, from, from + k), this.root(from + k, to)]
      : [...this.inclusion(index, from + k, to), this.root(from, from + k)];
  }
  consistency(m, from, to, whole = true) {
    const n = to - from;
    if (m === n) return whole ? [] : [this.root(from, to)];
    const k = Tree.split(n);
    return m <= k ? [...this.consistency(m, from, from + k, whole), this.root(from + k, to)]
      : [...this.consistency(m - k, from + k, to, false), this.root(from, from + k)];
  }
}

export function mappedPeer(a, b, c, d, port) {
  return Buffer.concat([Buffer.alloc(10), Buffer.from([0xff, 0xff, a, b, c, d]), u16be(port)]);
}

const AMBIENT = [0, 1, 2, 3, 4, 5, 6, 7, 9, 11, 12];

export class FixtureLog {
  tree = new Tree();
  records = [];
  checkpoints = [];
  anchors = [];
  logKey = generateKeyPairSync('ed25519');
  ak = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  logId = randomBytes(32);
  pcr = Buffer.alloc(32);
  indexStart = sha256('stele/genesis/v1', randomBytes(32));
  index = this.indexStart;
  counterStart = 141_000;
  counterName = Buffer.concat([u16be(0x000b), randomBytes(32)]);
  indexName = Buffer.concat([u16be(0x000b), randomBytes(32)]);
  signer = Buffer.concat([u16be(0x000b), randomBytes(32)]);
  ambient = AMBIENT.map((n) => sha256(`pcr ${n}`));

  constructor() {
    this.origin = `stele.fixture/log/${this.logId.toString('hex').slice(0, 16)}`;
    this.publicKey = this.logKey.publicKey.export({ type: 'spki', format: 'der' }).subarray(-32);
    const blob = Buffer.concat([Buffer.from([1]), this.publicKey]);
    this.keyId = sha256(`${this.origin}\n`, blob).subarray(0, 4);
    this.vkey = `${this.origin}+${this.keyId.toString('hex')}+${blob.toString('base64')}`;
  }

  append(kind, payload, { source = 0, peer = Buffer.alloc(18), timeNs = BigInt(Date.now()) * 1_000_000n, flags = 0, ...rest } = {}) {
    const salt = randomBytes(16);
    const entry = Buffer.alloc(92);
    entry[0] = 1;
    entry[1] = KINDS[kind];
    entry.writeUInt16LE(flags, 2);
    entry.writeUInt32LE(source, 4);
    entry.writeBigUInt64LE(BigInt(this.records.length), 8);
    entry.writeBigInt64LE(timeNs, 16);
    (this.tree.leaves.at(-1) ?? this.logId).copy(entry, 24);
    sha256('stele/payload/v1', salt, peer, payload).copy(entry, 56);
    entry.writeUInt32LE(payload.length, 88);
    this.tree.leaves.push(sha256(Buffer.from([0]), entry));
    const record = { seq: this.records.length, kind, payload, salt, peer, entry, timeNs, source, flags, ...rest };
    this.records.push(record);
    return record;
  }

  checkpoint(anchor = false, timeNs) {
    const size = this.records.length;
    const root = this.tree.root(0, size);
    const text = `${this.origin}\n${size}\n${root.toString('base64')}\n`;
    const signature = sign(null, Buffer.from(text), this.logKey.privateKey);
    const note = `${text}\n\u2014 ${this.origin} ${Buffer.concat([this.keyId, signature]).toString('base64')}\n`;
    const digest = sha256(note);
    const number = this.checkpoints.length + 1;
    const intent = { reset_count: 7, restart_count: 0, number, pcr_before: this.pcr.toString('hex'), anchor: anchor ? this.anchors.length + 1 : 0 };
    this.pcr = sha256(this.pcr, digest);
    const record = this.append('checkpoint', Buffer.from(JSON.stringify({ note, size, root: root.toString('hex'), digest: digest.toString('hex'), ...intent })),
      timeNs === undefined ? {} : { timeNs });
    const checkpoint = { size, root: root.toString('hex'), time: iso(record.timeNs), note, seq: record.seq, intent };
    this.checkpoints.push(checkpoint);
    if (anchor) this.anchor(checkpoint, digest, timeNs);
    return checkpoint;
  }

  attest(type, qualifying, attested) {
    const clock = Buffer.alloc(17);
    clock.writeBigUInt64BE(43_700n + BigInt(this.anchors.length) * 3_600_000n, 0);
    clock.writeUInt32BE(7, 8);
    clock[16] = 1;
    const body = Buffer.concat([Buffer.from('ff544347', 'hex'), u16be(type), sized(this.signer), sized(qualifying), clock,
      Buffer.from('2019102300163636', 'hex'), attested]);
    const p1363 = sign('sha256', body, { key: this.ak.privateKey, dsaEncoding: 'ieee-p1363' });
    const trim = (half) => { let at = 0; while (at < 31 && half[at] === 0) at++; return half.subarray(at); };
    const signature = Buffer.concat([u16be(0x18), u16be(0x0b), sized(trim(p1363.subarray(0, 32))), sized(trim(p1363.subarray(32)))]);
    return { attest_b64: body.toString('base64'), signature_b64: signature.toString('base64') };
  }

  anchor(checkpoint, digest, timeNs) {
    const number = this.anchors.length + 1;
    this.index = sha256(this.index, digest);
    const counter = Buffer.alloc(8);
    counter.writeBigUInt64BE(BigInt(this.counterStart + number));
    const count = Buffer.alloc(8);
    count.writeBigUInt64LE(BigInt(number));
    const qualifying = (purpose) => sha256(`stele/qd/v1${purpose}`, this.logId, count, digest, Buffer.alloc(32));
    const values = [...this.ambient, this.pcr];
    const bitmap = [...AMBIENT, 14].reduce((b, n) => { b[n >> 3] |= 1 << (n & 7); return b; }, Buffer.alloc(3));
    const selection = Buffer.concat([Buffer.from([0, 0, 0, 1]), u16be(0x0b), Buffer.from([3]), bitmap]);
    const receipt = {
      number, size: checkpoint.size, digest: digest.toString('hex'), pcr: this.pcr.toString('hex'), index: this.index.toString('hex'),
      counter: this.counterStart + number, late: false, reset_count: 7, restart_count: 0, clock_ms: 0,
      quote: { ...this.attest(0x8018, qualifying('receipt-quote'), Buffer.concat([selection, sized(sha256(...values))])),
        pcr_values: values.map((v) => v.toString('hex')) },
      certify_counter: this.attest(0x8014, qualifying('certify-C'), Buffer.concat([sized(this.counterName), u16be(0), sized(counter)])),
      certify_index: this.attest(0x8014, qualifying('certify-X'), Buffer.concat([sized(this.indexName), u16be(0), sized(this.index)])),
    };
    const record = this.append('anchor', Buffer.from(JSON.stringify(receipt)), timeNs === undefined ? {} : { timeNs });
    this.anchors.push({ ...receipt, seq: record.seq, time: iso(record.timeNs), qualifying: Object.fromEntries(
      [['quote', 'receipt-quote'], ['counter', 'certify-C'], ['index', 'certify-X']].map(([k, p]) => [k, qualifying(p).toString('hex')])) });
  }

  provisioning() {
    return {
      ak_public_pem: this.ak.publicKey.export({ type: 'spki', format: 'pem' }), ak_name: '', ek_name: '', pcr: 14,
      counter_name: this.counterName.toString('hex'), index_name: this.indexName.toString('hex'), counter_start: this.counterStart,
      index_start: this.indexStart.toString('hex'), software_tpm: true };
  }
}

export const iso = (ns) => new Date(Number(ns / 1_000_000n)).toISOString();
