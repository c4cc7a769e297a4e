// The archive of an evidence bundle: POSIX ustar, regular files only (docs/format.md, "Evidence bundle"). Total: whatever is
// not exactly that is refused. One member is in memory at a time, and only up to the bound its name has.
import { type Bytes, Malformed } from '../bytes.js';

/** Random access to the bytes of a file; `read` gives exactly the bytes [begin, end). */
export interface Source { size: number; read(begin: number, end: number): Promise<Bytes> }

const BLOCK = 512;
const NAME_BYTES = 100;
const SIZE = 124;
const CHECKSUM = 148;
const TYPE = 156;
const MAGIC = 257;
const PREFIX = 345;
const MAGIC_AND_VERSION = 'ustar\u000000';

const latin1 = (bytes: Uint8Array): string => String.fromCharCode(...bytes);
const allZero = (bytes: Uint8Array): boolean => bytes.every((byte) => byte === 0);

function refuse(why: string): never {
  throw new Malformed(`archive: ${why}`);
}

/** One to eleven octal digits, then only NUL or space. */
function octalAt(header: Uint8Array, at: number, width: number): number | undefined {
  const match = /^([0-7]{1,11})[\0 ]*$/.exec(latin1(header.subarray(at, at + width)));
  return match === null ? undefined : Number.parseInt(match[1] ?? '', 8);
}

function checksumOf(header: Uint8Array): number {
  return header.reduce((sum, byte, i) => sum + (i >= CHECKSUM && i < CHECKSUM + 8 ? 0x20 : byte), 0);
}

function parseHeader(header: Bytes): { name: string; size: number } {
  if (latin1(header.subarray(MAGIC, MAGIC + 8)) !== MAGIC_AND_VERSION) refuse('not ustar');
  if (octalAt(header, CHECKSUM, 8) !== checksumOf(header)) refuse('the checksum of a header is wrong');
  const type = String.fromCharCode(header[TYPE] ?? 0);
  if (type !== '0') refuse(type === '1' || type === '2' ? 'a link' : type === '5' ? 'a directory' : 'a member that is no regular file');
  const field = latin1(header.subarray(0, NAME_BYTES));
  const name = field.split('\0', 1)[0] ?? '';
  if (!allZero(header.subarray(name.length, NAME_BYTES)) || !allZero(header.subarray(PREFIX))) {
    refuse('a name with a prefix, or bytes behind the name');
  }
  const size = octalAt(header, SIZE, 12);
  if (size === undefined) refuse('the size of a member is no octal number');
  return { name, size };
}

/**
 * Every member in turn. `admit` gives the bound of a name or throws; `take` gets the content. Throws Malformed at the first
 * thing that is wrong; what was taken before that is no evidence of anything.
 */
export async function readUstar(
  source: Source, admit: (name: string) => number, take: (content: Bytes, read: number) => Promise<void>): Promise<void> {
  let at = 0;
  const read = async (length: number): Promise<Bytes> => {
    if (length > source.size - at) refuse('it ends early');
    const bytes = await source.read(at, at + length);
    if (bytes.length !== length) refuse('it cannot be read');
    at += length;
    return bytes;
  };
  for (;;) {
    const header = await read(BLOCK);
    if (allZero(header)) break;
    const { name, size } = parseHeader(header);
    if (size > admit(name)) refuse('a member is larger than it may be');
    await take(await read(size), at);
    if (!allZero(await read((BLOCK - (size % BLOCK)) % BLOCK))) refuse('the padding is not zero');
  }
  if (!allZero(await read(BLOCK))) refuse('the padding is not zero');
  if (at !== source.size) refuse('bytes behind its end');
}
