// Witnesses: a trust policy (c2sp.org/tlog-policy) and what it says of a cosigned note (c2sp.org/tlog-cosignature). The same
// rules as appliance/ledger/witness_policy.h and cosignature.h.
//
//   log <vkey> [<url>]                      witness <name> <vkey> [<url>]
//   group <name> all|any|<k> <name>...      quorum <name>|none            exactly one; names are defined on earlier lines
import { type Bytes, Malformed, equal, utf8 } from './bytes.js';
import { COSIGNER, type Note, type VerifierKey, parseVerifierKey, verifyEd25519 } from './note.js';

const ITEMS_MAX = 256;
const POLICY_CHARS_MAX = 256 * 1024;

export interface Witness { name: string; key: VerifierKey }
export interface Group { name: string; threshold: number; members: string[] }
export interface WitnessPolicy { logs: VerifierKey[]; witnesses: Witness[]; groups: Group[]; quorum: string }

function require(condition: boolean, otherwise: string): asserts condition {
  if (!condition) throw new Malformed(otherwise);
}

/** Reads a policy line after line. */
class PolicyReader {
  readonly policy: WitnessPolicy = { logs: [], witnesses: [], groups: [], quorum: '' };
  private readonly defined = new Set<string>();
  private readonly members = new Set<string>();    // of any group

  async line(items: string[]): Promise<void> {
    const { logs, witnesses, groups } = this.policy;
    const [word, name = '', third = ''] = items;
    if (word === 'log') {
      require(items.length >= 2 && items.length <= 3, 'expected: log <vkey> [<url>]');
      logs.push(await this.newKey(await parseVerifierKey(name), logs));
    } else if (word === 'witness') {
      require(items.length >= 3 && items.length <= 4, 'expected: witness <name> <vkey> [<url>]');
      const key = await this.newKey(await parseVerifierKey(third, COSIGNER), witnesses.map((one) => one.key));
      this.define(name);
      witnesses.push({ name, key });
    } else if (word === 'group') {
      require(items.length >= 4, 'expected: group <name> all|any|<k> <name>...');
      require(groups.length < ITEMS_MAX, 'too many groups');
      const members = items.slice(3);
      for (const member of members) {
        require(this.defined.has(member), 'a member is not defined on an earlier line');
        require(!this.members.has(member), 'a member is already in this or another group');
        this.members.add(member);
      }
      const threshold = third === 'all' ? members.length : third === 'any' ? 1 : /^[0-9]{1,3}$/.test(third) ? Number(third) : 0;
      require(threshold >= 1 && threshold <= members.length, 'the threshold is not all, any or a number from 1 to the number of members');
      this.define(name);
      groups.push({ name, threshold, members });
    } else if (word === 'quorum') {
      require(items.length === 2, 'expected: quorum <name>');
      require(this.policy.quorum === '', 'a second quorum line');
      require(name === 'none' || this.defined.has(name), 'the quorum is not defined on an earlier line');
      this.policy.quorum = name;
    } else {
      throw new Malformed('not log, witness, group or quorum');
    }
  }

  private async newKey(key: VerifierKey, others: VerifierKey[]): Promise<VerifierKey> {
    require(others.length < ITEMS_MAX, 'too many keys');
    require(!others.some((other) => equal(other.publicKey, key.publicKey)), 'this key is there twice');
    return key;
  }

  private define(name: string): void {
    require(name !== 'none' && !this.defined.has(name), 'this name is taken');
    this.defined.add(name);
  }
}

/** Throws Malformed, with the number of the line that is wrong. */
export async function parseWitnessPolicy(text: string): Promise<WitnessPolicy> {
  require(text.length <= POLICY_CHARS_MAX, 'policy: too long');
  require(!/[\u0000-\u0008\u000b-\u001f\u007f]/.test(text), 'policy: a control character');
  require(text === '' || text.endsWith('\n'), 'policy: the last line is cut');
  const reader = new PolicyReader();
  for (const [i, line] of text.split('\n').entries()) {
    const items = line.split(/[ \t]+/).filter((item) => item !== '');
    if (items.length === 0 || items[0]?.startsWith('#') === true) continue;
    try {
      await reader.line(items);
    } catch (error) {
      throw new Malformed(`policy, line ${i + 1}: ${error instanceof Error ? error.message : ''}`);
    }
  }
  require(reader.policy.quorum !== '', 'policy: there is no quorum line');
  return reader.policy;
}

/** Whether these witnesses, by their names in the policy, are enough. */
export function quorumMet(policy: WitnessPolicy, cosigned: Set<string>): boolean {
  if (policy.quorum === 'none') return true;
  const met = new Set(policy.witnesses.map((one) => one.name).filter((name) => cosigned.has(name)));
  for (const group of policy.groups) {     // members stand on earlier lines, so one pass decides
    if (group.members.filter((member) => met.has(member)).length >= group.threshold) met.add(group.name);
  }
  return met.has(policy.quorum);
}

const isBy = (line: { name: string; id: Bytes }, key: VerifierKey): boolean => line.name === key.name && equal(line.id, key.id);

/** The newest time at which this witness cosigned; undefined: it did not. Throws where a line claims to be by it and is not. */
async function cosignatureTime(note: Note, key: VerifierKey): Promise<bigint | undefined> {
  let newest: bigint | undefined;
  for (const { signature } of note.signatures.filter((line) => isBy(line, key))) {
    const bad = `the cosignature of ${key.name} does not verify`;
    require(signature.length === 72, bad);
    const time = new DataView(signature.buffer, signature.byteOffset, 8).getBigUint64(0);
    const good = time < 2n ** 63n &&
      await verifyEd25519(key.publicKey, signature.slice(8), utf8(`cosignature/v1\ntime ${time}\n${note.text}`));
    require(good, bad);
    if (newest === undefined || time > newest) newest = time;
  }
  return newest;
}

/** By name of witness, in the policy's order. Throws where none of the policy's logs signed it, or a known line does not verify. */
export async function witnessesOf(policy: WitnessPolicy, note: Note): Promise<{ name: string; timeS: bigint | undefined }[]> {
  const origin = note.text.slice(0, note.text.indexOf('\n'));
  let ours = policy.logs.length === 0;
  for (const log of policy.logs) {
    for (const line of note.signatures.filter((one) => isBy(one, log))) {
      require(await verifyEd25519(log.publicKey, line.signature, utf8(note.text)), `the signature of ${log.name} does not verify`);
      if (log.name === origin) ours = true;
    }
  }
  require(ours, 'checkpoint: signed by no log of the policy');
  const seen = [];
  for (const { name, key } of policy.witnesses) seen.push({ name, timeS: await cosignatureTime(note, key) });
  return seen;
}
