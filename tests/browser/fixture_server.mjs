// FIXTURE: serves web/viewer/dist and the read API over HTTPS from fixture_log.mjs, for working on the viewer.
//
//   node fixture_server.mjs SCRATCH_DIR [--port N] [--records N] [--rate PER_SECOND] [--zones N]
//
// Prints one JSON line: url, and the paths of the CA, the client certificate and the password in SCRATCH_DIR, as
// tests/browser/run.mjs takes them. Its search knows words, field:value and kind: only, and the two
// queries of the Network screen.
import { execFileSync } from 'node:child_process';
import { readFileSync, readdirSync, writeFileSync, mkdirSync } from 'node:fs';
import { createServer } from 'node:https';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { FixtureLog, iso, mappedPeer } from './fixture_log.mjs';
import { fixtureNetwork } from './fixture_network.mjs';
import { hostileJson, hostileSyslog } from './hostile_events.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const dist = join(here, '../../web/viewer/dist');
const scratch = process.argv[2];
const option = (name, fallback) => { const at = process.argv.indexOf(`--${name}`); return at > 0 ? Number(process.argv[at + 1]) : fallback; };
const FLAGS = ['truncated', 'incomplete', 'unparsed', 'possible_duplicate', 'restamped', 'framing_error', 'overflow_source',
  'identity_mismatch', 'signature_valid', 'signature_invalid', 'signature_unknown'];
const QUIET = new Set(['access', 'checkpoint', 'anchor', 'clock']);
const CSP = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; font-src 'self'; base-uri 'none'; " +
  "form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

function certificates() {
  mkdirSync(scratch, { recursive: true });
  const openssl = (...args) => execFileSync('openssl', args, { cwd: scratch, stdio: 'pipe' });
  const key = (name) => openssl('ecparam', '-name', 'prime256v1', '-genkey', '-noout', '-out', `${name}.key`);
  key('ca');
  openssl('req', '-x509', '-new', '-key', 'ca.key', '-subj', '/CN=Fixture CA', '-days', '2', '-out', 'ca.pem');
  for (const [name, extension] of [['server', 'subjectAltName=DNS:localhost,IP:127.0.0.1'], ['client', 'extendedKeyUsage=clientAuth']]) {
    key(name);
    writeFileSync(join(scratch, `${name}.ext`), extension);
    openssl('req', '-new', '-key', `${name}.key`, '-subj', `/CN=${name === 'client' ? 'anna' : 'localhost'}`, '-out', `${name}.csr`);
    openssl('x509', '-req', '-in', `${name}.csr`, '-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '2', '-extfile', `${name}.ext`, '-out', `${name}.pem`);
  }
  return Object.fromEntries(['ca.pem', 'server.pem', 'server.key'].map((n) => [n, readFileSync(join(scratch, n))]));
}

/* ---- the log ---- */
const log = new FixtureLog();
const SOURCES = [
  { id: 1, zone: 'default', listener: 'syslog-udp', transport: 'udp', peer: '10.1.2.1' }, { id: 2, zone: 'default', listener: 'syslog-tls', transport: 'tls', peer: '10.1.2.9' },
  { id: 3, zone: 'plant', listener: 'syslog-tcp', transport: 'tcp', peer: '10.1.9.7' }, { id: 4, zone: 'default', listener: 'json', transport: 'https-json', peer: '10.1.3.3' }];
const pick = (list) => list[Math.floor(Math.random() * list.length)];
const address = () => `10.1.${Math.floor(Math.random() * 9)}.${Math.floor(Math.random() * 254) + 1}`;
const SHAPES = [
  [4, 'fw1', 'filterlog', () => `denied tcp ${address()}:${40000 + Math.floor(Math.random() * 9999)} -> ${address()}:22 flags=S rule=41`],
  [6, 'fw1', 'filterlog', () => `passed udp ${address()}:53211 -> 10.1.0.53:53 rule=7`],
  [6, 'web-01', 'nginx', () => `${address()} - - "GET /api/orders/${Math.floor(Math.random() * 9999)} HTTP/1.1" 200 ${Math.floor(Math.random() * 9000)} "-" "curl/8.5"`],
  [3, 'dc01', 'sudo', () => 'pam_unix(sudo:auth): authentication failure; logname=anna uid=1001 euid=0 tty=/dev/pts/1 ruser=anna rhost= user=anna'],
  [5, 'dc01', 'sshd', () => `Accepted publickey for anna from ${address()} port 51022 ssh2: ED25519 SHA256:kq3F0vJ9`],
  [6, 'plc-07', 'modbusd', () => `unit 4 read holding registers 40001..40016 ok in ${Math.floor(Math.random() * 40)} ms`],
  [7, 'plc-07', 'modbusd', () => 'keepalive unit 4'], [2, 'san-2', 'mdadm', () => 'DegradedArray event detected on md device /dev/md/0'],
  [5, 'mail', 'postfix/smtpd', () => `connect from unknown[${address()}]`], [6, 'ns1', 'named', () => `client @0x7f1c ${address()}#5353: query: plant.example IN A +E(0)K`]];

function syslog(severity, host, app, message, timeNs, source) {
  const payload = Buffer.from(`<${16 * 8 + severity}>1 ${iso(timeNs)} ${host} ${app} ${1000 + severity} - - ${message}`);
  return { payload, meta: { source: source.id, peer: mappedPeer(...source.peer.split('.').map(Number), 514), timeNs, severity, facility: 16, host, app,
    pid: String(1000 + severity), format: 'rfc5424', message: { offset: payload.length - Buffer.byteLength(message), length: Buffer.byteLength(message) } } };
}

function appendSyslog(timeNs) {
  const weights = [0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 3, 4, 4, 5, 5, 5, 6, 7, 8, 8, 9, 9];
  const [severity, host, app, text] = SHAPES[Math.random() < 0.004 ? 7 : pick(weights.filter((w) => w !== 7))];
  const { payload, meta } = syslog(severity, host, app, text(), timeNs, SOURCES[host === 'plc-07' ? 2 : host === 'dc01' ? 1 : 0]);
  return log.append('syslog', payload, meta);
}

function appendLive(message) {
  const { payload, meta } = syslog(6, 'live-host', 'liver', message, BigInt(Date.now()) * 1_000_000n, SOURCES[0]);
  return log.append('syslog', payload, meta);
}

function appendHostile(timeNs) {
  for (const payload of hostileSyslog('hostilemarker')) {
    const text = payload.toString('utf8');
    const five = /^<(\d+)>1 \S+ (\S+) (\S+) (\S+) (\S+) (-|\[(?:[^\]\\]|\\.)*\]) /s.exec(text);
    const three = /^<(\d+)>\w{3} .\d \S+ (\S+) ([^:[]*)(?:\[\d+\])?: /s.exec(text);
    const match = five ?? three;
    const priority = Number(/^<(\d+)>/.exec(text)[1]);
    const offset = match === null ? 0 : Buffer.byteLength(match[0]);
    log.append('syslog', payload, { source: 1, peer: mappedPeer(10, 1, 2, 1, 514), timeNs, format: five ? 'rfc5424' : 'rfc3164',
      severity: priority % 8, facility: Math.floor(priority / 8), host: match?.[2], app: match?.[3], message: { offset, length: payload.length - offset } });
  }
  for (const text of hostileJson('hostilemarker')) {
    const value = JSON.parse(text);
    log.append('json', Buffer.from(text), { source: 4, peer: mappedPeer(10, 1, 3, 3, 40123), timeNs, format: 'json', severity: value.severity,
      host: value.host, app: value.app, message: { offset: 0, length: Buffer.byteLength(text) } });
  }
}

const total = option('records', 6000);
const end = BigInt(Date.now()) * 1_000_000n;
const span = 24n * 3_600n * 1_000_000_000n;
log.append('epoch', Buffer.from('{"type":"genesis"}'), { timeNs: end - span, format: 'internal' });
for (let i = 0; i < total; i++) {
  const bump = 1 + 0.35 * Math.sin((i / total) * 22);
  const at = end - span + BigInt(Math.floor(Number(span) * Math.min(1, (i + Math.random() * 0.2) / total) * Math.min(1, bump > 1.2 ? 1 : 1)));
  appendSyslog(at);
  if (i === Math.floor(total * 0.8)) appendHostile(at);
  if (i % 200 === 199) log.checkpoint(i % 1200 === 1199, at);
}
log.append('syslog', Buffer.concat([Buffer.from('<12>1 2026-11-21T03:00:00Z big app - - - bigline '), Buffer.alloc(200_000, 'x')]),
  { source: 1, peer: mappedPeer(10, 1, 2, 1, 514), severity: 4, facility: 1, host: 'big', app: 'app', format: 'rfc5424', message: { offset: 41, length: 200_008 } });
const network = fixtureNetwork(log, option('zones', 3), end, 'hostilemarker <img src=x onerror="window.__stele_ran=1"> \u202etxt.exe\u001b[31m');
log.checkpoint(true);

/* ---- the API ---- */
const row = (r, size) => ({
  seq: r.seq, time: iso(r.timeNs), time_ns: String(r.timeNs), kind: r.kind, flags: FLAGS.filter((_, i) => (r.flags >> i) & 1),
  source: SOURCES.find((s) => s.id === r.source) ?? { id: r.source }, peer: r.peer.every((b) => b === 0) ? '' : `${[...r.peer.subarray(12, 16)].join('.')}:${r.peer.readUInt16BE(16)}`,
  severity: r.severity, facility: r.facility, host: r.host, app: r.app, pid: r.pid, message: r.message ?? { offset: 0, length: r.payload.length }, size: r.payload.length,
  payload_b64: r.payload.subarray(0, 2048).toString('base64'), payload_whole: r.payload.length <= 2048, format: r.format ?? 'internal', peer_b64: r.peer.toString('base64'),
  ...(size === undefined || r.seq >= size ? {} : { entry_b64: r.entry.toString('base64'), salt_b64: r.salt.toString('base64'),
    proof: log.tree.inclusion(r.seq, 0, size).map((h) => h.toString('hex')) }) });

function matcher(q) {
  if (/json\.(alarm|event):/.test(q)) {      // names of alarms and events, of any of the kinds in the query
    const names = q.match(/policy_[a-z]+/g);
    return (r) => ['policy', 'alarm'].includes(r.kind) && names.some((name) => [r.parsed?.alarm, r.parsed?.event].includes(name));
  }
  if (/:$|^OR /.test(q)) throw Object.assign(new Error('a term is missing: host:fw1'), { column: q.length });
  const terms = q.match(/-?[a-z]+:\([^)]*\)|-?[a-z]+:(?:"(?:[^"\\]|\\.)*"|\S+)|"(?:[^"\\]|\\.)*"|\S+/g) ?? [];
  const unquote = (v) => (v.startsWith('"') ? v.slice(1, -1).replace(/\\(.)/g, '$1') : v);
  const names = ['emerg', 'alert', 'crit', 'err', 'warning', 'notice', 'info', 'debug'];
  const tests = terms.map((term) => {
    const field = /^(-?)([a-z]+):(.*)$/s.exec(term);
    if (field === null) { const needle = unquote(term).toLowerCase(); return (r) => r.payload.toString('latin1').toLowerCase().includes(needle); }
    const values = (field[3].startsWith('(') ? field[3].slice(1, -1).split(' OR ') : [field[3]]).map(unquote);
    const of = (r) => (field[2] === 'severity' ? names[r.severity] : field[2] === 'seq' ? String(r.seq) : field[2] === 'peer' ? [...r.peer.subarray(12, 16)].join('.') : r[field[2]]);
    return (r) => values.includes(of(r)) !== (field[1] === '-');
  });
  const named = /kind:/.test(q);
  return (r) => (named || !QUIET.has(r.kind)) && tests.every((t) => t(r));
}

const timeNs = (text) => (text === null ? null : /^\d+$/.test(text) ? BigInt(text) : BigInt(Date.parse(text)) * 1_000_000n);

function found(p) {
  const match = matcher(p.get('q') ?? '');
  const size = Number(p.get('size') ?? log.checkpoints.at(-1).size);
  const [from, to] = [timeNs(p.get('from')), timeNs(p.get('to'))];
  return { size, from, to, checkpoint: log.checkpoints.find((c) => c.size === size),
    hits: log.records.slice(0, size).filter((r) => match(r) && (from === null || r.timeNs >= from) && (to === null || r.timeNs < to)) };
}

const listeners = new Set();
const answers = {
  session: (p, who) => ({ user: who.user, role: 'auditor', via: who.via, permissions: ['search', 'proof', 'bundle'] }),
  search: (p) => {
    const { size, from, to, checkpoint, hits } = found(p);
    const before = Number(p.get('before') ?? Number.MAX_SAFE_INTEGER);
    const limit = Number(p.get('limit') ?? 100);
    const all = hits.filter((r) => r.seq < before).reverse();
    const rows = all.slice(0, limit);
    const more = all.length > limit;
    return { checkpoint, range: { from: from && iso(from), to: to && iso(to), from_ns: from && String(from), to_ns: to && String(to) }, rows: rows.map((r) => row(r, size)),
      limit_hit: more, timed_out: false, next_before: more ? rows.at(-1).seq : null, scanned_records: size };
  },
  histogram: (p) => {
    const { from, to, checkpoint, hits, size } = found(p);
    const start = from ?? log.records[0].timeNs;
    const stop = to ?? log.records[size - 1].timeNs + 1n;
    const n = Number(p.get('buckets') ?? 120);
    const width = (stop - start) / BigInt(n) + 1n;
    const buckets = Array.from({ length: n }, () => [0, 0, 0]);
    for (const r of hits) buckets[Number((r.timeNs - start) / width)][r.severity <= 3 ? 0 : r.severity === 4 ? 1 : 2]++;
    return { checkpoint, bucket_ns: String(width), from_ns: String(start), to_ns: String(stop), buckets, total: hits.length, timed_out: false };
  },
  integrity: () => ({ log_id: log.logId.toString('hex'), origin: log.origin, vkey: log.vkey, checkpoint: log.checkpoints.at(-1),
    checkpoints: log.checkpoints.slice(-50).reverse(), anchors: log.anchors.slice(-20).reverse(), provisioning: log.provisioning(),
    mvw: { same_boot: { records: log.records.length - log.checkpoints.at(-1).size, ms: 420 }, across_boot: { records: log.records.length - log.anchors.at(-1).size, ms: 93_000 } },
    verdict: { word: 'OK', qualifiers: ['SOFTWARE_TPM'], detail: 'clean; the TPM is a software TPM' }, tpm: { nv_writes: 120, nv_budget: 100_000, unanchored_since: null } }),
  consistency: (p) => ({ from: Number(p.get('from')), to: Number(p.get('to')), proof: log.tree.consistency(Number(p.get('from')), 0, Number(p.get('to'))).map((h) => h.toString('hex')) }),
  sources: () => ({ sources: SOURCES.map((s) => { const mine = log.records.filter((r) => r.source === s.id);
    return { ...s, first_seq: mine[0]?.seq ?? 0, first_time: iso(mine[0]?.timeNs ?? 0n), last_seq: mine.at(-1)?.seq ?? 0, last_time: iso(mine.at(-1)?.timeNs ?? 0n), events: mine.length }; }) }),
  network: () => network,
  status: () => ({ version: 'fixture', zones: network.zones.filter((z) => z.kind === 'ingest').map((z, i) => ({ name: z.name, connected: true, received: 812_404 - i * 31_007,
    stored: 812_404 - i * 31_007 - (i === 1 ? 17 : 0), lost: i === 1 ? 17 : 0, unknown_losses: 0, refused: i * 2, connections: 12 + i, sources: 4 + i })), store: { segments: 2, bytes: 8_500_000, free_bytes: 91_000_000_000 }, listeners: [
    { name: 'syslog-udp', transport: 'udp', address: '0.0.0.0:514', received: 6120, stored: 6103, lost: 17, refused: 0 },
    { name: 'syslog-tls', transport: 'tls', address: '0.0.0.0:6514', received: 812, stored: 812, lost: 0, refused: 2 }] }),
};

function record(path, p, send, response) {
  const [, seqText, what] = /^record\/(\d+)(\/payload|\/context)?$/.exec(path);
  const r = log.records[Number(seqText)];
  if (r === undefined) return send(404, { error: { code: 'not_found', message: 'no such record' } });
  const size = Number(p.get('size') ?? log.checkpoints.at(-1).size);
  const checkpoint = log.checkpoints.find((c) => c.size === size);
  if (what === '/payload') {
    response.writeHead(200, { 'content-type': 'application/octet-stream' });
    return response.end(r.payload.subarray(Number(p.get('offset')), Number(p.get('offset')) + Math.min(65_536, Number(p.get('length')))));
  }
  if (what === '/context') {
    const same = log.records.filter((x) => x.source === r.source && x.seq < size);
    const at = same.indexOf(r);
    return send(200, { checkpoint, rows: same.slice(Math.max(0, at - 20), at + 21).map((x) => row(x, size)) });
  }
  const fields = r.kind === 'json' || r.format === 'internal' ? { json: JSON.parse(r.payload) } : { host: r.host, app: r.app };
  return send(200, { checkpoint, row: row(r, size), fields, payload_b64: r.payload.subarray(0, 65_536).toString('base64'), payload_size: r.payload.length });
}

const TYPES = { html: 'text/html; charset=utf-8', js: 'text/javascript', css: 'text/css' };
const PASSWORD = 'fixture-password';
const tls = certificates();

const server = createServer({ key: tls['server.key'], cert: tls['server.pem'], ca: tls['ca.pem'], requestCert: true, rejectUnauthorized: false }, (request, response) => {
  const url = new URL(request.url, 'https://localhost');
  response.setHeader('Content-Security-Policy', CSP);
  response.setHeader('Cross-Origin-Opener-Policy', 'same-origin');
  const send = (status, body, headers = {}) => {
    response.writeHead(status, { 'content-type': 'application/json', 'cache-control': 'no-store', ...headers });
    response.end(JSON.stringify(body));
  };
  if (!url.pathname.startsWith('/api/v1/')) {
    const name = url.pathname === '/' ? 'index.html' : url.pathname.slice(1);
    if (!readdirSync(dist).includes(name)) return send(404, {});
    response.writeHead(200, { 'content-type': TYPES[name.split('.').pop()] });
    return response.end(readFileSync(join(dist, name)));
  }
  const path = url.pathname.slice('/api/v1/'.length);
  const p = url.searchParams;
  if (path === 'sign-in') {
    let body = '';
    request.on('data', (part) => { body += part; });
    return request.on('end', () => (JSON.parse(body).password === PASSWORD
      ? send(200, { user: 'bert', role: 'auditor' }, { 'set-cookie': '__Host-stele=1; Secure; HttpOnly; SameSite=Strict; Path=/' })
      : send(401, { error: { code: 'unauthorized', message: 'no' } })));
  }
  if (path === 'sign-out') return send(200, {}, { 'set-cookie': '__Host-stele=; Max-Age=0; Secure; HttpOnly; SameSite=Strict; Path=/' });
  // A resumed session without a client certificate counts as authorized for node.
  const certified = request.socket.authorized && Object.keys(request.socket.getPeerCertificate() ?? {}).length > 0;
  const via = certified ? 'certificate' : (request.headers.cookie ?? '').includes('__Host-stele=1') ? 'password' : null;
  if (via === null) return send(401, { error: { code: 'unauthorized', message: 'sign in' } });
  try {
    if (path === 'tail') {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      const match = matcher(p.get('q') ?? '');
      const push = (r) => { if (match(r)) response.write(`id: ${r.seq}\ndata: ${JSON.stringify(row(r))}\n\n`); };
      const after = Number(request.headers['last-event-id'] ?? p.get('after') ?? NaN);
      if (!Number.isNaN(after)) log.records.slice(after + 1).forEach(push);
      const listener = { push, checkpoint: (c) => response.write(`event: checkpoint\ndata: ${JSON.stringify(c)}\n\n`) };
      response.write(': hello\n\n');
      listener.checkpoint(log.checkpoints.at(-1));
      listeners.add(listener);
      return request.on('close', () => listeners.delete(listener));
    }
    if (path === 'bundle') {   // a real one, of another log
      response.writeHead(200, { 'content-type': 'application/x-tar', 'content-disposition': 'attachment; filename="evidence.tar"' });
      return response.end(readFileSync(join(here, '../data/bundles/range.tar')));
    }
    if (path.startsWith('record/')) return record(path, p, send, response);
    if (answers[path] === undefined) return send(404, { error: { code: 'not_found', message: 'no such call' } });
    return send(200, answers[path](p, { user: via === 'certificate' ? 'anna' : 'bert', via }));
  } catch (error) {
    return send(400, { error: { code: 'bad_query', message: error.message, column: error.column } });
  }
});

const rate = option('rate', 4);
let live = 0;
setInterval(() => {
  const r = live++ % (rate * 2) === 0
    ? appendLive(`livemarker ${live}`)
    : appendSyslog(BigInt(Date.now()) * 1_000_000n);
  for (const l of listeners) l.push(r);
  if (live % (rate * 3) === 0) {
    const c = log.checkpoint(live % (rate * 60) === 0);
    for (const l of listeners) l.checkpoint(c);
  }
}, 1000 / rate);

server.listen(option('port', 0), '127.0.0.1', () => {
  console.log(JSON.stringify({ url: `https://localhost:${server.address().port}/`, ca: join(scratch, 'ca.pem'), cert: join(scratch, 'client.pem'), key: join(scratch, 'client.key'), user: 'bert', password: PASSWORD, pid: process.pid }));
});
