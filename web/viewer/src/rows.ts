// A row on the screen: the appliance's answer, and what this browser found when it checked it.
import { signal } from '@preact/signals';
import { type RowData, type RowVerdict, type CheckpointData, verifyRow } from './verify/record.js';
import { Malformed, type Bytes, fromBase64 } from './verify/bytes.js';
import { type Shown, escapeText } from './text/escape.js';
import { judge } from './trust.js';

export const PREVIEW_BYTES = 2048;
const ROW_CODE_POINTS = 480;

export class RowModel {
  readonly verdict = signal<RowVerdict | null>(null);
  private preview: Shown | undefined;
  private running: Promise<void> | undefined;

  constructor(public row: RowData, public checkpoint: CheckpointData | null) {}

  /** The message as one line, from the very bytes that are proven. */
  get message(): Shown {
    this.preview ??= escapeText(messageBytes(this.row), { ansi: 'strip', limit: ROW_CODE_POINTS });
    return this.preview;
  }

  /** Checks the row; a second call while one runs joins it. `payload`: all bytes, when they have been fetched. */
  verify(payload?: Bytes): Promise<void> {
    if (payload === undefined && this.running !== undefined) return this.running;
    this.running = this.check(payload);
    return this.running;
  }

  again(): Promise<void> {
    this.running = undefined;
    return this.verify();
  }

  /** The log was asked for this row and does not have it. */
  deny(why: string): void {
    this.verdict.value = { state: 'false', why, checks: [{ name: 'inclusion', ok: false, detail: why }], leaf: '' };
    this.running = Promise.resolve();
  }

  private async check(payload?: Bytes): Promise<void> {
    this.verdict.value = this.checkpoint === null
      ? { state: 'open', why: 'above the newest checkpoint: not yet covered by a signature', checks: [], leaf: '' }
      : await verifyRow(this.row, await judge(this.checkpoint), payload);
  }
}

export function payloadPreview(row: RowData): Bytes {
  try {
    return fromBase64(row.payload_b64);
  } catch (error) {
    if (error instanceof Malformed) return new Uint8Array();       // the row's own check says why
    throw error;
  }
}

export function messageBytes(row: RowData, payload: Bytes = payloadPreview(row)): Bytes {
  if (row.message === undefined) return payload;
  return payload.slice(row.message.offset, row.message.offset + row.message.length);
}

export const SEVERITIES = ['EMERG', 'ALERT', 'CRIT', 'ERR', 'WARN', 'NOTICE', 'INFO', 'DEBUG'] as const;
/** The names as the query language has them. */
export const SEVERITY_WORDS = ['emerg', 'alert', 'crit', 'err', 'warning', 'notice', 'info', 'debug'] as const;
export const FACILITIES = [
  'kern', 'user', 'mail', 'daemon', 'auth', 'syslog', 'lpr', 'news', 'uucp', 'cron', 'authpriv', 'ftp', 'ntp', 'audit', 'alert',
  'clock', 'local0', 'local1', 'local2', 'local3', 'local4', 'local5', 'local6', 'local7'] as const;
