// What this browser remembers of one appliance: its keys (trust on first use, then a loud change) and the newest tree it has
// seen, so that a log rolled back since the last visit is noticed by each auditor alone.
//
// Storage key "stele.pin.v1"; the store is per origin. `version` fixes the members.

export interface Pin {
  version: 1;
  logId: string;
  origin: string;
  vkey: string;
  akPem: string;
  registers: string;    // which PCR and NV indices, and where they started; '' when the appliance has not said
  since: string;        // RFC 3339
}

export interface Visit { size: number; root: string; time: string }

export interface Storage { getItem(key: string): string | null; setItem(key: string, value: string): void }

const PIN_KEY = 'stele.pin.v1';
const VISIT_KEY = 'stele.visit.v1';

export type PinState = 'first' | 'same' | 'changed';

export function loadPin(storage: Storage): Pin | undefined {
  const value = parse(storage.getItem(PIN_KEY));
  const text = (name: string): boolean => typeof value?.[name] === 'string';
  if (value?.['version'] !== 1 || !['logId', 'origin', 'vkey', 'akPem', 'registers', 'since'].every(text)) return undefined;
  return value as unknown as Pin;
}

export function savePin(storage: Storage, pin: Pin): void {
  storage.setItem(PIN_KEY, JSON.stringify(pin));
}

/** The members that differ, by their names on the screen. */
export function changedMembers(pinned: Pin, seen: Omit<Pin, 'since' | 'version'>): string[] {
  const changed: string[] = [];
  if (pinned.logId !== seen.logId) changed.push('log id');
  if (pinned.origin !== seen.origin) changed.push('origin');
  if (pinned.vkey !== seen.vkey) changed.push('log key');
  // An appliance that could not say its attestation key on the first visit may say it later; it may not take it back.
  if (pinned.akPem !== '' && pinned.akPem.trim() !== seen.akPem.trim()) changed.push('attestation key');
  if (pinned.registers !== '' && pinned.registers !== seen.registers) changed.push('TPM registers');
  return changed;
}

export function loadVisit(storage: Storage): Visit | undefined {
  const value = parse(storage.getItem(VISIT_KEY));
  if (!Number.isSafeInteger(value?.['size']) || !/^[0-9a-f]{64}$/.test(String(value?.['root']))) return undefined;
  if (typeof value?.['time'] !== 'string') return undefined;
  return value as unknown as Visit;
}

export function saveVisit(storage: Storage, visit: Visit): void {
  storage.setItem(VISIT_KEY, JSON.stringify(visit));
}

function parse(text: string | null): Record<string, unknown> | undefined {
  if (text === null) return undefined;
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}
