// What an auditor types or chooses beside the bundle -> Policy. Bad input is refused before anything is checked: a pin that is
// no key must not look like a bundle that is signed by another one.
import { type Bytes, Malformed, fromHex } from '../bytes.js';
import { WITNESS_MAX_AGE_S } from './state.js';
import { pointOf } from './tpm_names.js';

export function parseNonce(text: string): Bytes {
  const hex = text.trim().toLowerCase();
  if (!/^[0-9a-f]{64}$/.test(hex)) throw new Malformed('the nonce is not 64 hexadecimal digits');
  return fromHex(hex);
}

export function parsePin(text: string): string {
  try {
    pointOf(text);
  } catch {
    throw new Malformed('the pin file is not a P-256 public key in PEM');
  }
  return text;
}

/** Lines of register and SHA-256 value, as `stele audit --expected-pcrs` takes them; blank lines and # comments are left out. */
export function parseExpectedPcrs(text: string): Map<number, Bytes> {
  const values = new Map<number, Bytes>();
  for (const line of text.split('\n')) {
    const one = line.trim();
    if (one === '' || one.startsWith('#')) continue;
    const match = /^([0-9]{1,2})[\s:=]+(?:0x)?([0-9a-f]{64})$/i.exec(one);
    const pcr = Number(match?.[1]);
    if (match === null || pcr > 23 || values.has(pcr)) throw new Malformed('expected registers: lines of number and SHA-256 value, each once');
    values.set(pcr, fromHex((match[2] ?? '').toLowerCase()));
  }
  return values;
}

/** Seconds; empty: the usual. */
export function parseMaxAge(text: string): number {
  const seconds = text.trim();
  if (seconds === '') return WITNESS_MAX_AGE_S;
  if (!/^[0-9]{1,12}$/.test(seconds)) throw new Malformed('the oldest cosignature is not a number of seconds');
  return Number(seconds);
}

/** The note in an earlier receipt: a JSON acknowledgement or status, or a checkpoint as it is. */
export function noteOfReceipt(text: string): string {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return text;
  }
  const object = value as Record<string, unknown> | null;
  for (const name of ['checkpoint', 'note']) {
    const member = object?.[name];
    if (typeof member === 'string') return member;
    const note = (member as { note?: unknown } | null | undefined)?.note;
    if (typeof note === 'string') return note;
  }
  throw new Malformed('the receipt carries no checkpoint');
}
