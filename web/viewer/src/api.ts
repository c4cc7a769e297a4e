// The read API as the viewer uses it (docs/api.md). Types are what the appliance promises; src/verify/ trusts none of it.
import type { RowData, CheckpointData } from './verify/record.js';
import type { AnchorData, Provisioning, CheckpointIntent } from './verify/anchor.js';

export interface Session { user: string; role: string; via: 'certificate' | 'password'; permissions: string[] }

export interface SearchAnswer {
  checkpoint: CheckpointData | null;          // null: none has been made yet
  range: { from: string | null; to: string | null; from_ns: string | null; to_ns: string | null };
  rows: RowData[];
  limit_hit: boolean;
  timed_out: boolean;
  next_before: number | null;
  scanned_records: number;
  unreadable?: [number, number][];            // damaged: first sequence, one past the last
  expired?: [number, number][];               // of the time asked for, records whose retention is over; as above
}

export interface RecordAnswer {
  checkpoint: CheckpointData | null;
  row: RowData;
  fields: Record<string, unknown>;
  payload_b64: string;
  payload_size: number;
}

export interface HistogramAnswer {
  checkpoint: CheckpointData | null;
  bucket_ns: string;
  from_ns: string;
  to_ns: string;
  buckets: [number, number, number][];
  total: number;
  timed_out: boolean;
}

export interface Vulnerability { records: number | null; ms: number | null }
export interface Mvw { same_boot?: Vulnerability; across_boot?: Vulnerability }
export interface Verdict { word: string; qualifiers?: string[]; detail?: string }

export interface IntegrityAnswer {
  log_id: string;
  origin: string;
  vkey: string;
  key_words?: string;
  checkpoint: CheckpointData | null;
  checkpoints: CheckpointIntent[];
  anchors: AnchorData[];
  provisioning: Provisioning | null;
  mvw?: Mvw;
  verdict?: Verdict;
  tpm?: { nv_writes?: number; nv_budget?: number; unanchored_since?: string | null };
}

export interface Source {
  id: number; zone: string; listener: string; transport: string; peer: string;
  first_seq: number; first_time: string; last_seq: number; last_time: string; events: number;
  name?: string; identity?: { cn?: string }; silent?: boolean; rate_per_minute?: number; interval_ms?: number; gaps?: number;
  skew_ms?: number; skew_zone_known?: boolean;
}

export interface StatusAnswer {
  version?: string;
  size?: number;
  committed_size?: number;
  uptime_ms?: number;
  key?: string;
  sandbox?: string;
  losses?: number;
  alarms?: unknown[];
  listeners?: { name: string; zone?: string; transport: string; address: string; received: number; stored: number; lost: number | null;
    refused: number }[];
  zones?: { name: string; connected?: boolean; received: number; stored: number; lost: number; unknown_losses?: number; refused: number;
    connections: number; sources: number }[];
  store?: { segments: number; bytes?: number; free_bytes?: number };
}

export interface NetworkFlow { name: string; destinations?: string[]; destinations_total?: number; ports?: string[] }
export interface NetworkZone {
  name: string; kind?: string; interface?: string; process?: string;
  addresses?: string[]; sources?: string[]; sources_total?: number;
  doors?: { service: string; protocol: string; port: number }[];
  flows?: NetworkFlow[];
  limits?: { connections?: number; connections_per_s?: number; datagrams_per_s?: number; sources?: number };
  router_advertisements?: boolean;
  cut?: boolean;                             // its lists did not fit
}

/** A field of the matrix, as `stele policy check --json` has it. */
export interface NetworkReach {
  direction: 'in' | 'echo' | 'out'; zone: string; interface: string; peers: string[]; peers_total?: number;
  address?: string; protocol: string; port?: number; service: string; process?: string;
}

export interface NetworkEntry { seq: number; time: string; event?: string; digest?: string; who?: string; why?: string; text?: string }

export interface NetworkAnswer {
  configured: boolean;
  problem?: string;                          // why there is no policy
  zones: NetworkZone[];
  reach: NetworkReach[];
  reach_total?: number;
  findings?: { severity: string; line?: number; text: string }[];
  state: string;                             // none, not_enforced, pending, applied, failed, unknown
  guard_runs: boolean | null;
  limited: boolean;                          // only the zones of this user's scope
  last?: { complete: boolean; change: NetworkEntry | null; outcome: NetworkEntry | null };
}

export class ApiError extends Error {
  constructor(readonly status: number, readonly code: string, message: string, readonly column: number | null) {
    super(message);
  }
}

async function failure(response: Response): Promise<ApiError> {
  let code = '';
  let message = `the appliance answered ${response.status}`;
  let column: number | null = null;
  try {
    const body = (await response.json()) as { error?: { code?: unknown; message?: unknown; column?: unknown } };
    if (typeof body.error?.code === 'string') code = body.error.code;
    if (typeof body.error?.message === 'string') message = body.error.message;
    if (typeof body.error?.column === 'number') column = body.error.column;
  } catch {
    // Not JSON: the status alone must do.
  }
  if (response.status === 429) {
    const wait = response.headers.get('Retry-After');
    if (wait !== null && /^\d{1,6}$/.test(wait)) message += ` (try again in ${wait} s)`;
  }
  return new ApiError(response.status, code, message, column);
}

/** Called whenever the appliance says that nobody is signed in. */
export let onUnauthorized: () => void = () => undefined;
export function setOnUnauthorized(handler: () => void): void {
  onUnauthorized = handler;
}

const BUSY_WAITS_MS = [400, 800, 1600];

/** A read that is told "too many" waits and asks again; nothing else is repeated. */
async function request(path: string, init: RequestInit): Promise<Response> {
  for (const wait of init.method === undefined ? BUSY_WAITS_MS : []) {
    try {
      return await requestOnce(path, init);
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 429) throw error;
      await new Promise((resolve) => window.setTimeout(resolve, wait));
      init.signal?.throwIfAborted();
    }
  }
  return requestOnce(path, init);
}

async function requestOnce(path: string, init: RequestInit): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(path, { credentials: 'same-origin', cache: 'no-store', redirect: 'error', ...init });
  } catch (error) {
    if (error instanceof DOMException && error.name === 'AbortError') throw error;
    throw new ApiError(0, 'unreachable', 'the appliance cannot be reached', null);
  }
  if (!response.ok) {
    const error = await failure(response);
    if (error.status === 401 && path !== '/api/v1/sign-in') onUnauthorized();
    throw error;
  }
  return response;
}

type Parameters = Record<string, string | number | null | undefined>;

export function apiPath(path: string, parameters: Parameters = {}): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== null && value !== undefined && value !== '') query.set(name, String(value));
  }
  const text = query.toString();
  return `/api/v1/${path}${text === '' ? '' : `?${text}`}`;
}

async function get<T>(path: string, parameters: Parameters, signal?: AbortSignal): Promise<T> {
  const response = await request(apiPath(path, parameters), signal === undefined ? {} : { signal });
  return (await response.json()) as T;
}

async function post(path: string, body: unknown): Promise<unknown> {
  const response = await request(`/api/v1/${path}`, {
    method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) });
  return response.json();
}

export type BundleSelection = { range: string } | { q: string; from: string | null; to: string | null };

export const api = {
  session: () => get<Session>('session', {}),
  signIn: (user: string, password: string) => post('sign-in', { user, password }),
  signOut: () => post('sign-out', {}),
  search: (p: Parameters, signal?: AbortSignal) => get<SearchAnswer>('search', p, signal),
  histogram: (p: Parameters, signal?: AbortSignal) => get<HistogramAnswer>('histogram', p, signal),
  record: (seq: number, size: number | null, signal?: AbortSignal) => get<RecordAnswer>(`record/${seq}`, { size }, signal),
  context: (seq: number, count: number) =>
    get<{ checkpoint: CheckpointData | null; rows: RowData[] }>(`record/${seq}/context`, { count }),
  payload: async (seq: number, offset: number, length: number, signal?: AbortSignal): Promise<Uint8Array<ArrayBuffer>> => {
    const path = apiPath(`record/${seq}/payload`, { offset, length });
    return new Uint8Array(await (await request(path, signal === undefined ? {} : { signal })).arrayBuffer());
  },
  integrity: () => get<IntegrityAnswer>('integrity', {}),
  consistency: (from: number, to: number) =>
    get<{ from: number; to: number; proof: string[]; from_root: string; to_root: string }>('consistency', { from, to }),
  /** An evidence bundle, whole: an archive that is cut on its way is an error here. */
  bundle: async (p: BundleSelection & { nonce: string; payloads: 0 | 1 }, signal: AbortSignal): Promise<Blob> =>
    // An empty query finds everything, but it must be there.
    (await request(`${apiPath('bundle', p)}${'q' in p && p.q === '' ? '&q=' : ''}`, { signal })).blob(),
  sources: () => get<{ sources: Source[] }>('sources', {}),
  network: () => get<NetworkAnswer>('network', {}),
  status: () => get<StatusAnswer>('status', {}),
};
