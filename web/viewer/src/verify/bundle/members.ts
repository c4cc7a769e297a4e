// Total access to the members of a JSON object: what is missing or of another form is Malformed, by its name.
import { type Bytes, Malformed, fromBase64, fromHex } from '../bytes.js';

export type Json = Record<string, unknown>;

const isObject = (value: unknown): value is Json => typeof value === 'object' && value !== null && !Array.isArray(value);

/** Strict UTF-8. */
export function decodeText(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new Malformed('not UTF-8');
  }
}

/** Byte for byte. */
export const decodeLatin1 = (bytes: Uint8Array): string => String.fromCharCode(...bytes);

export class Members {
  private constructor(private readonly what: string, private readonly object: Json) {}

  static parse(what: string, text: string): Members {
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch {
      value = undefined;
    }
    if (!isObject(value)) throw new Malformed(`${what}: not a JSON object`);
    return new Members(what, value);
  }

  bad(name: string): never {
    throw new Malformed(`${this.what}: member ${name}`);
  }
  has(name: string): boolean {
    return Object.hasOwn(this.object, name);
  }
  get(name: string): unknown {
    return this.has(name) ? this.object[name] : undefined;
  }
  text(name: string): string {
    const value = this.get(name);
    return typeof value === 'string' ? value : this.bad(name);
  }
  /** Exact: at most 2^53 - 1. */
  number(name: string, max = Number.MAX_SAFE_INTEGER): number {
    const value = this.get(name);
    return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 && value <= max ? value : this.bad(name);
  }
  /** Nanoseconds since 1970 pass 2^53: to show, not to compare. */
  nanoseconds(name: string): number {
    const value = this.get(name);
    return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value < 2 ** 63 ? value : this.bad(name);
  }
  boolean(name: string): boolean {
    const value = this.get(name);
    return typeof value === 'boolean' ? value : this.bad(name);
  }
  hex(name: string, length?: number): Bytes {
    try {
      const bytes = fromHex(this.text(name));
      return length === undefined || bytes.length === length ? bytes : this.bad(name);
    } catch {
      return this.bad(name);
    }
  }
  hash(name: string): Bytes {
    return this.hex(name, 32);
  }
  base64(name: string): Bytes {
    try {
      return fromBase64(this.text(name));
    } catch {
      return this.bad(name);
    }
  }
  /** One of two words: true for the first. */
  either(name: string, first: string, second: string): boolean {
    const text = this.text(name);
    return text === first || text === second ? text === first : this.bad(name);
  }
  list(name: string, max: number): unknown[] {
    const value = this.get(name);
    return Array.isArray(value) && value.length <= max ? value : this.bad(name);
  }
  hashes(name: string, max: number): Bytes[] {
    return this.list(name, max).map((value) => (typeof value === 'string' && value.length === 64 ? fromHex(value) : this.bad(name)));
  }
  children(name: string, max: number): Members[] {
    return this.list(name, max).map((value) => (isObject(value) ? new Members(`${this.what}: ${name}`, value) : this.bad(name)));
  }
  child(name: string): Members {
    const value = this.get(name);
    return isObject(value) ? new Members(`${this.what}: ${name}`, value) : this.bad(name);
  }
}
