// Goal: what the Network screen says is what the entries say, whatever is missing in them, and the picture has room for every
// zone. Method: examples of every entry and of broken ones; sums that must come out; layouts of 1 to 32 zones without overlap.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { NetworkZone } from '../src/api.js';
import {
  type Dated, type Violation, bucketsOf, droppedOf, historyOf, openDrift, openUnapplied, parseObject, policyEventOf, violationOf } from '../src/network/entries.js';
import { type Box, fit, fitList, layoutOf } from '../src/network/layout.js';

const NOW = '1795230000036000000';
const violation = (more: object = {}): Violation => {
  const found = violationOf({ alarm: 'policy_violation', zone: 'machines', reason: 'port', source: '10.1.2.3', destination: '10.20.0.1', protocol: 'tcp', port: 22,
    packets: 7, from_ns: 1795229990000000000, to_ns: 1795229999000000000, ...more }, NOW);
  assert.ok(found);
  return found;
};

test('a payload is one JSON object or nothing', () => {
  const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
  assert.deepEqual(parseObject(bytes('{"a":1}')), { a: 1 });
  for (const text of ['', '[]', '7', 'null', '{"a":', '{"a":1}x']) assert.equal(parseObject(bytes(text)), undefined, text);
  assert.equal(parseObject(new Uint8Array([0x7b, 0xff, 0x7d])), undefined);
});

test('a violation is read member by member', () => {
  const one = violation();
  assert.deepEqual([one.kind, one.zone, one.source, one.protocol, one.port, one.reason, one.packets], ['violation', 'machines', '10.1.2.3', 'tcp', 22, 'port', 7]);
  assert.ok(one.fromNs < one.toNs);
  const scan = violation({ alarm: 'policy_scan', ports: 900, addresses: 1 });
  assert.deepEqual([scan.kind, scan.reason, scan.detail], ['scan', 'port', '900 ports, 1 address']);
  assert.deepEqual([violation({ alarm: 'policy_crossing', target: 'operator' }).kind, violation({ alarm: 'policy_crossing', target: 'operator' }).target], ['crossing', 'operator']);
  assert.equal(violation({ protocol: 'icmp', port: null, icmp_type: 8 }).detail, 'icmp type 8');
  const uncounted = violationOf({ alarm: 'policy_violations_uncounted', zone: null, cause: 'overrun', packets: 4000 }, NOW);
  assert.deepEqual([uncounted?.kind, uncounted?.reason, uncounted?.zone, uncounted?.packets], ['uncounted', 'overrun', '', 4000]);
});

test('what is missing or of another type is left out, and an entry is at least a packet', () => {
  const bare = violationOf({ alarm: 'policy_violation' }, NOW);
  assert.deepEqual(bare, { kind: 'violation', zone: '', source: '', destination: '', protocol: '', port: null, reason: '', packets: 1,
    fromNs: BigInt(NOW), toNs: BigInt(NOW), detail: '', target: '' });
  const odd = violationOf({ alarm: 'policy_violation', zone: {}, port: '22', packets: -4, from_ns: 'soon', to_ns: NOW, reason: ['x'] }, NOW);
  assert.deepEqual([odd?.zone, odd?.port, odd?.packets, odd?.reason, odd?.fromNs], ['', null, 1, '', BigInt(NOW)]);
  for (const payload of [{}, { alarm: 'source_silent' }, { alarm: 7 }, { event: 'policy_violation' }, { alarm: '__proto__' }, { alarm: 'constructor' }]) {
    assert.equal(violationOf(payload, NOW), undefined);
  }
});

test('packets are summed by zone and reason', () => {
  const sums = droppedOf([violation(), violation({ packets: 3 }), violation({ reason: 'source', packets: 2 }), violation({ zone: 'office', packets: 1 })]);
  assert.deepEqual([...(sums.get('machines') ?? [])], [['port', 10], ['source', 2]]);
  assert.deepEqual([...(sums.get('office') ?? [])], [['port', 1]]);
});

test('over time no packet is lost and none is invented', () => {
  const from = 1795229000000000000n;
  const to = 1795230000000000000n;
  let random = 7;
  const next = (below: number): number => { random = (random * 48271) % 2147483647; return random % below; };
  const list: Violation[] = [];
  for (let i = 0; i < 300; i++) {
    const start = from - 10n ** 11n + BigInt(next(1_200_000)) * 1_000_000n;      // some begin before, some end behind
    list.push({ ...violation({ alarm: ['policy_violation', 'policy_scan', 'policy_crossing'][i % 3] }), packets: 1 + next(1000), fromNs: start, toNs: start + BigInt(next(100_000)) * 1_000_000n });
  }
  const buckets = bucketsOf(list, from, to, 120);
  const wanted = list.reduce((sum, one) => sum + one.packets, 0);
  assert.equal(buckets.total, wanted);
  assert.equal(buckets.counts.flat().reduce((sum, n) => sum + n, 0), wanted);
  assert.deepEqual([0, 1, 2].map((i) => buckets.counts.reduce((sum, b) => sum + (b[i] ?? 0), 0)),
    ['crossing', 'scan', 'violation'].map((kind) => list.filter((one) => one.kind === kind).reduce((sum, one) => sum + one.packets, 0)));
  assert.equal(bucketsOf([violation()], 5n, 5n, 10).total, 7, 'an empty range still counts');
});

const event = (seq: number, payload: object): Dated => {
  const found = policyEventOf(payload as Record<string, unknown>);
  assert.ok(found);
  return { seq, event: found };
};

test('a change has its diff, its approvals and its outcome', () => {
  const change = event(10, { event: 'policy_change', digest: 'aa', who: 'anna', why: 'a new plant', forced: true, policy: '[[zones]]',
    diff: ['opens   10.1.0.0/16 on eth1 -> 10.1.0.1 tcp/22', 'closes  x', 'limit   zone plant: 1 to 2', { odd: 1 }],
    approvals: [{ name: 'anna', key: 'ab12' }, { name: 7 }, 'x'] });
  assert.deepEqual(change.event.lines.map((line) => line.sign), ['opens', 'closes', 'other', 'other']);
  assert.equal(change.event.lines[0]?.text, '10.1.0.0/16 on eth1 -> 10.1.0.1 tcp/22');
  assert.deepEqual(change.event.approvals, [{ name: 'anna', key: 'ab12' }, { name: '', key: '' }, { name: '', key: '' }]);
  assert.equal(change.event.forced, true);
  const history = historyOf([event(11, { event: 'policy_applied', digest: 'aa' }), change, event(9, { event: 'policy_applied', digest: 'old' }),
    event(12, { alarm: 'policy_drift', text: 'by hand', differences: ['x'], program: 'nft', process: 77 })]);
  assert.deepEqual(history.map((one) => [one.item.seq, one.outcomes.map((o) => o.seq)]), [[12, []], [10, [11]], [9, []]]);
  assert.equal(history[0]?.item.event.actor, 'nft, process 77');
});

test('an outcome belongs to the newest change only, and only with the same digest', () => {
  const history = historyOf([event(1, { event: 'policy_change', digest: 'aa' }), event(2, { event: 'policy_change', digest: 'bb' }),
    event(3, { event: 'policy_failed', digest: 'aa', text: 'late' }), event(4, { event: 'policy_applied', digest: 'bb' })]);
  assert.deepEqual(history.map((one) => [one.item.seq, one.outcomes.map((o) => o.seq)]), [[3, []], [2, [4]], [1, []]]);
});

test('a drift is open until the rules were restored or applied again', () => {
  const drift = event(5, { alarm: 'policy_drift' });
  assert.equal(openDrift([drift])?.seq, 5);
  assert.equal(openDrift([drift, event(6, { alarm: 'policy_restored' })]), undefined);
  assert.equal(openDrift([event(6, { event: 'policy_applied' }), drift]), undefined);
  assert.equal(openDrift([event(4, { event: 'policy_applied' }), drift, event(7, { event: 'policy_change' })])?.seq, 5);
  assert.equal(openDrift([]), undefined);
  const unapplied = event(8, { alarm: 'policy_unapplied', diff: ['opens x'] });
  assert.equal(openUnapplied([event(1, { event: 'policy_change' }), unapplied, event(9, { event: 'policy_applied', at_start: true })])?.seq, 8);
  assert.equal(openUnapplied([unapplied, event(9, { event: 'policy_change' })]), undefined);
  assert.equal(event(9, { event: 'policy_applied', at_start: true }).event.atStart, true);
  assert.equal(event(9, { alarm: 'policy_drift', program: '', process: 0 }).event.actor, '');
  for (const payload of [{}, { event: 'reload' }, { alarm: 'policy_scan' }, { event: 'toString' }]) assert.equal(policyEventOf(payload), undefined);
});

const zones = (n: number, flows: number): NetworkZone[] => [
  ...Array.from({ length: n }, (_, i): NetworkZone => ({ name: `plant-${i}`, kind: 'ingest', interface: `eth${i}`, process: `stele-receive@plant-${i}`,
    doors: [{ service: 'syslog-udp', protocol: 'udp', port: 514 }], flows: [] })),
  { name: 'operator', kind: 'operator', process: 'stele-web', doors: [{ service: 'viewer', protocol: 'tcp', port: 9443 }] },
  { name: 'alert', kind: 'alert', process: 'stele-courier', doors: [],
    flows: Array.from({ length: flows }, (_, i) => ({ name: `siem-${i}`, destinations: ['203.0.113.61'], ports: ['tcp/6514'] })) }];

test('from 1 to 32 zones nothing overlaps, nothing lies outside, and every door and flow has its line', () => {
  for (let n = 0; n <= 30; n++) {
    for (const flows of [0, 1, 5, 40]) {
      const list = zones(n, flows);
      const picture = layoutOf({ zones: list });
      assert.equal(picture.flows.length, flows);
      assert.equal(picture.processes.length, n + 2);
      assert.equal(picture.edges.length, n + 1 + flows);
      for (const column of [picture.zones, picture.processes, picture.flows] as Box[][]) {
        const sorted = [...column].sort((a, b) => a.y - b.y);
        sorted.forEach((box, i) => {
          const before = sorted[i - 1];
          assert.ok(before === undefined || before.y + before.height < box.y, `${n} zones, ${flows} flows: ${box.id} touches ${before?.id ?? ''}`);
          assert.ok(box.y >= 0 && box.y + box.height <= picture.height && box.x >= 0 && box.x + box.width <= picture.width, `${box.id} is outside`);
        });
      }
      for (const box of picture.processes) {
        assert.ok(box.y >= picture.frame.y && box.y + box.height <= picture.frame.y + picture.frame.height, `${box.id} is outside of the appliance`);
      }
    }
  }
});

test('texts are cut to what fits and lists say how many more there are', () => {
  assert.equal(fit('machines', 100, 8), 'machines');
  assert.equal(fit('a-very-long-name-of-a-zone', 80, 8), 'a-very-lo\u2026');
  assert.equal(fitList(['10.0.0.0/8', '192.0.2.0/24'], 300, 7), '10.0.0.0/8  192.0.2.0/24');
  assert.equal(fitList(['10.0.0.0/8', '192.0.2.0/24'], 130, 7), '10.0.0.0/8  +1');
  assert.equal(fitList(['10.0.0.0/8'], 130, 7, 250), '10.0.0.0/8  +249');
  assert.equal(fitList([], 130, 7), '');
});
