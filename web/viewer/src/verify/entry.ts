// The 92-byte entry, the unit of the log (appliance/record/entry.h). All integers little-endian.
//
//   version:u8 kind:u8 flags:u16 source:u32 sequence:u64 receive_wall_ns:i64
//   previous_leaf_hash[32] payload_commitment[32] payload_length:u32
import { type Bytes, Malformed, sha256, utf8 } from './bytes.js';

export const ENTRY_BYTES = 92;
const VERSION = 1;
const COMMITMENT_LABEL = utf8('stele/payload/v1');

/** Index = the number in the entry. */
export const KINDS = [
  '', 'syslog', 'json', 'source', 'loss', 'access', 'checkpoint', 'anchor', 'policy', 'alarm', 'lifecycle', 'clock', 'epoch',
  'tombstone'] as const;

/** Index = the bit in Entry.flags. */
export const FLAGS = [
  'truncated', 'incomplete', 'unparsed', 'possible_duplicate', 'restamped', 'framing_error', 'overflow_source',
  'identity_mismatch', 'signature_valid', 'signature_invalid', 'signature_unknown'] as const;

export interface Entry {
  kind: string;
  flags: string[];
  source: number;
  sequence: number;
  receiveNs: bigint;
  previous: Bytes;
  commitment: Bytes;
  payloadLength: number;
}

export function decodeEntry(bytes: Bytes): Entry {
  if (bytes.length !== ENTRY_BYTES) throw new Malformed(`the entry has ${bytes.length} bytes, not ${ENTRY_BYTES}`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint8(0) !== VERSION) throw new Malformed('the entry is of an unknown version');
  const kind = KINDS[view.getUint8(1)];
  if (kind === undefined || kind === '') throw new Malformed('the entry is of an unknown kind');
  const bits = view.getUint16(2, true);
  const flags: string[] = [];
  for (let bit = 0; bit < 16; bit++) if ((bits & (1 << bit)) !== 0) flags.push(FLAGS[bit] ?? `bit_${bit}`);
  const sequence = view.getBigUint64(8, true);
  if (sequence > BigInt(Number.MAX_SAFE_INTEGER)) throw new Malformed('the sequence number is too large');
  return {
    kind,
    flags,
    source: view.getUint32(4, true),
    sequence: Number(sequence),
    receiveNs: view.getBigInt64(16, true),
    previous: bytes.slice(24, 56),
    commitment: bytes.slice(56, 88),
    payloadLength: view.getUint32(88, true),
  };
}

export async function commitPayload(salt: Uint8Array, peer: Uint8Array, payload: Uint8Array): Promise<Bytes> {
  return sha256(COMMITMENT_LABEL, salt, peer, payload);
}

/** "192.0.2.1:514", "[2001:db8::1]:514", "" when all zero: the text of the 18 bytes address[16] port:u16 (big-endian). */
export function peerText(peer: Uint8Array): string {
  if (peer.length !== 18) throw new Malformed('the peer is not 18 bytes');
  if (peer.every((byte) => byte === 0)) return '';
  const at = (i: number): number => peer[i] ?? 0;
  const port = at(16) * 256 + at(17);
  const mapped = peer.slice(0, 10).every((b) => b === 0) && at(10) === 0xff && at(11) === 0xff;
  if (mapped) return `${at(12)}.${at(13)}.${at(14)}.${at(15)}:${port}`;
  return `[${ipv6Text(peer)}]:${port}`;
}

/** What peerText() wrote, without the port. */
export const addressOf = (peer: string): string => peer.replace(/^\[(.*)\]:\d+$|^([\d.]+):\d+$/, '$1$2');

// RFC 5952: the longest run of two or more zero groups becomes "::", the first of equals. As inet_ntop(3) writes it, an
// address with only its last 32 bits set is shown dotted.
function ipv6Text(address: Uint8Array): string {
  const groups: number[] = [];
  for (let i = 0; i < 16; i += 2) groups.push((address[i] ?? 0) * 256 + (address[i + 1] ?? 0));
  let best = { start: -1, length: 1 };
  for (let start = 0; start < 8; start++) {
    let length = 0;
    while (start + length < 8 && groups[start + length] === 0) length++;
    if (length > best.length) best = { start, length };
  }
  const text = (part: number[]): string => part.map((g) => g.toString(16)).join(':');
  if (best.start < 0) return text(groups);
  if (best.start === 0 && best.length === 6) return `::${Array.from(address.slice(12, 16)).join('.')}`;
  return `${text(groups.slice(0, best.start))}::${text(groups.slice(best.start + best.length))}`;
}
