// Bundles taken apart and put together again, so that a test can change one thing and leave the archive whole.
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { bytes } from './support.js';
import { type Bytes, concat, fromHex, utf8 } from '../src/verify/bytes.js';
import type { Policy } from '../src/verify/bundle/state.js';
import { type Report, verifyBundle } from '../src/verify/bundle/verify.js';

const data = join(process.cwd(), '../../tests/data/bundles');
export const dataFile = async (name: string): Promise<Bytes> => bytes(await readFile(join(data, name)));
export const NONCE = fromHex('42'.repeat(32));

export interface Part { name: string; content: Bytes; type?: string }

const sha256Hex = (content: Uint8Array): string => createHash('sha256').update(content).digest('hex');

export function takeApart(tar: Bytes): Part[] {
  const parts: Part[] = [];
  for (let at = 0; tar[at] !== 0;) {
    const text = (from: number, length: number): string =>
      Buffer.from(tar.slice(at + from, at + from + length)).toString('latin1').split('\0', 1)[0] ?? '';
    const size = Number.parseInt(text(124, 12), 8);
    parts.push({ name: text(0, 100), content: tar.slice(at + 512, at + 512 + size) });
    at += 512 + 512 * Math.ceil(size / 512);
  }
  return parts;
}

export function header(name: string, size: number, type = '0'): Bytes {
  const block = Buffer.alloc(512);
  block.write(name, 0, 'latin1');
  block.write('0000644\0' + '0000000\0' + '0000000\0' + size.toString(8).padStart(11, '0') + '\0' + '00000000000\0', 100, 'latin1');
  block.write(' '.repeat(8), 148, 'latin1');
  block.write(`${type}`, 156, 'latin1');
  block.write('ustar\u000000', 257, 'latin1');
  const sum = block.reduce((all, byte) => all + byte, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return bytes(block);
}

export function tarOf(parts: Part[]): Bytes {
  return concat(...parts.flatMap(({ name, content, type }) =>
    [header(name, content.length, type), content, new Uint8Array((512 - (content.length % 512)) % 512)]), new Uint8Array(1024));
}

/** With a manifest that lists what is there now: whoever tampers writes that too. */
export function putTogether(parts: Part[]): Bytes {
  const others = parts.filter((part) => part.name !== 'evidence/manifest.json');
  const files = others.map(({ name, content }) =>
    ({ name: name.slice('evidence/'.length), size: content.length, sha256: sha256Hex(content) }));
  return tarOf([...others, { name: 'evidence/manifest.json', content: utf8(JSON.stringify({ files })) }]);
}

export const check = (tar: Bytes, policy: Policy = {}): Promise<Report> =>
  verifyBundle({ size: tar.length, read: async (begin, end) => tar.slice(begin, end) }, policy);

export const firstFailure = (report: Report): string | undefined => report.checks.find((one) => one.result === 'failed')?.name;
