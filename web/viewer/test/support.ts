// Node 18 has the web's cryptography, but not under its global name.
import { webcrypto } from 'node:crypto';

if (globalThis.crypto === undefined) Object.defineProperty(globalThis, 'crypto', { value: webcrypto });

/** A plain copy: node's Buffer shares memory and compares as another type. */
export const bytes = (buffer: Uint8Array): Uint8Array<ArrayBuffer> => new Uint8Array(buffer);

/** Every way to flip one bit of a byte string, one byte at a time. */
export function* bitFlips(original: Uint8Array, step = 1): Generator<Uint8Array<ArrayBuffer>> {
  for (let i = 0; i < original.length; i += step) {
    const copy = bytes(original);
    copy[i] = (copy[i] ?? 0) ^ (1 << (i % 8));
    yield copy;
  }
}
