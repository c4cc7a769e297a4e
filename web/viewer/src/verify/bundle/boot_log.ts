// The firmware's event log, replayed: what PCR 0 to 7 must hold if it is the log of this boot. The same as
// appliance/evidence/boot_log.h, which names the grammar.
import { type Bytes, Malformed, sha256 } from '../bytes.js';
import { decodeLatin1 } from './members.js';

const NO_ACTION = 3;
const ALG_SHA256 = 0x000b;
const ALGORITHMS_MAX = 16;
const REGISTERS = 24;
const BOOT_REGISTERS = 8;
const DATA_BYTES_MAX = 1024 * 1024;
const SPEC_ID = 'Spec ID Event03\0';
const STARTUP_LOCALITY = 'StartupLocality\0';

export interface BootRegisterReplay { value: Bytes; events: number }

function bad(why: string): never {
  throw new Malformed(`boot event log: ${why}`);
}

/** Little-endian integers and bytes, never beyond the end. */
class In {
  private at = 0;
  private readonly view: DataView;
  constructor(private readonly bytes: Bytes) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }
  take(length: number): Bytes {
    if (length > this.bytes.length - this.at) bad('it ends early');
    this.at += length;
    return this.bytes.slice(this.at - length, this.at);
  }
  int(length: 1 | 2 | 4): number {
    this.take(length);
    const at = this.at - length;
    return length === 1 ? this.view.getUint8(at) : length === 2 ? this.view.getUint16(at, true) : this.view.getUint32(at, true);
  }
  sized(): Bytes {
    const length = this.int(4);
    return length > DATA_BYTES_MAX ? bad('it ends early') : this.take(length);
  }
  atEnd(): boolean {
    return this.at === this.bytes.length;
  }
}

function digestSizes(specId: Bytes): Map<number, number> {
  const input = new In(specId);
  if (decodeLatin1(input.take(SPEC_ID.length)) !== SPEC_ID) bad('not of the crypto-agile form');
  input.take(4 + 3 + 1);   // class, version, uintnSize: nothing here depends on them
  const count = input.int(4);
  if (count > ALGORITHMS_MAX) bad('too many algorithms');
  const sizes = new Map<number, number>();
  for (let i = 0; i < count; i++) {
    const algorithm = input.int(2);
    if (sizes.has(algorithm)) bad('an algorithm twice');
    sizes.set(algorithm, input.int(2));
  }
  input.take(input.int(1));
  if (!input.atEnd()) bad('its first event is malformed');
  if (sizes.get(ALG_SHA256) !== 32) bad('no sha256 digests');
  return sizes;
}

/** The sha256 digest among those of one event. */
function readDigests(input: In, sizes: Map<number, number>): Bytes | undefined {
  const count = input.int(4);
  if (count > sizes.size) bad('more digests than algorithms');
  let ours: Bytes | undefined;
  for (let i = 0; i < count; i++) {
    const algorithm = input.int(2);
    const digest = input.take(sizes.get(algorithm) ?? bad('a digest of an unknown algorithm'));
    if (algorithm !== ALG_SHA256) continue;
    if (ours !== undefined) bad('two sha256 digests in one event');
    ours = digest;
  }
  return ours;
}

/** PCR 0 to 7. Throws Malformed: not such a log, cut short, or without sha256 digests. */
export async function replayBootLog(log: Bytes): Promise<BootRegisterReplay[]> {
  const input = new In(log);
  input.int(4);
  const firstType = input.int(4);
  input.take(20);
  const first = input.sized();
  if (firstType !== NO_ACTION) bad('not of the crypto-agile form');
  const sizes = digestSizes(first);
  const registers = Array.from({ length: BOOT_REGISTERS }, () => ({ value: new Uint8Array(32), events: 0 }) as BootRegisterReplay);
  while (!input.atEnd()) {
    const pcr = input.int(4);
    const type = input.int(4);
    const digest = readDigests(input, sizes);
    const data = input.sized();
    const register = registers[pcr];
    if (type === NO_ACTION) {
      const locality = data.length === STARTUP_LOCALITY.length + 1 && decodeLatin1(data).startsWith(STARTUP_LOCALITY);
      if (locality && pcr === 0 && register?.events === 0) register.value[31] = data[STARTUP_LOCALITY.length] ?? 0;
      continue;
    }
    if (pcr >= REGISTERS) bad('a register that no TPM has');
    if (digest === undefined) bad('an event without a sha256 digest');
    if (register === undefined) continue;
    register.value = await sha256(register.value, digest);
    register.events++;
  }
  return registers;
}
