// Goal: what this browser remembers is compared, and damage to it is never taken for agreement. Method: a storage in memory.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Pin, changedMembers, loadPin, loadVisit, savePin, saveVisit } from '../src/verify/pins.js';

class Memory {
  private readonly values = new Map<string, string>();
  getItem(key: string): string | null { return this.values.get(key) ?? null; }
  setItem(key: string, value: string): void { this.values.set(key, value); }
}
const pin: Pin = { version: 1, logId: 'aa', origin: 'o', vkey: 'k', akPem: 'p', registers: 'r', since: '2026-11-21T00:00:00Z' };

test('a pin is kept and read back', () => {
  const storage = new Memory();
  assert.equal(loadPin(storage), undefined);
  savePin(storage, pin);
  assert.deepEqual(loadPin(storage), pin);
  assert.deepEqual(changedMembers(pin, pin), []);
});

test('each changed member is named', () => {
  assert.deepEqual(changedMembers(pin, { ...pin, logId: 'bb' }), ['log id']);
  assert.deepEqual(changedMembers(pin, { ...pin, vkey: 'x', akPem: 'y' }), ['log key', 'attestation key']);
  assert.deepEqual(changedMembers(pin, { ...pin, registers: 's' }), ['TPM registers']);
  assert.deepEqual(changedMembers(pin, { ...pin, akPem: '' }), ['attestation key'], 'taking a key back is a change');
  assert.deepEqual(changedMembers({ ...pin, akPem: '', registers: '' }, pin), [], 'saying it for the first time is not');
});

test('what cannot be read counts as never seen', () => {
  const storage = new Memory();
  for (const text of ['', '{', '[]', 'null', '{"version":2}', '{"version":1,"logId":7}']) {
    storage.setItem('stele.pin.v1', text);
    assert.equal(loadPin(storage), undefined);
    storage.setItem('stele.visit.v1', text);
    assert.equal(loadVisit(storage), undefined);
  }
  saveVisit(storage, { size: 7, root: '0'.repeat(64), time: 't' });
  assert.equal(loadVisit(storage)?.size, 7);
});
