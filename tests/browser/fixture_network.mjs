// FIXTURE: a network of any number of zones, and entries about it in a fixture log: violations over a week, a scan, a crossing,
// changes of the policy with their outcomes, drift and its repair, and one change whose every text is hostile.
import { createHash } from 'node:crypto';

const HOUR = 3_600_000_000_000n;
const PLANTS = ['machines', 'office', 'laboratory', 'warehouse', 'packing', 'turbines', 'paint-shop', 'boilers'];
const DOORS = {
  machines: [['syslog-udp', 'udp', 514], ['syslog-tcp', 'tcp', 514]], office: [['syslog-tls', 'tcp', 6514], ['https-json', 'tcp', 8443]] };

const ingestZone = (i) => {
  const name = i < PLANTS.length ? PLANTS[i] : `plant-${i + 1}`;
  const sources = i % 5 === 1 ? ['192.0.2.0/24', '198.51.100.0/25', '2001:db8:2::/64'] : [`10.${20 + i}.0.0/16`];
  return { name, kind: 'ingest', interface: `eth${i + 1}`, process: `stele-receive@${name}`, addresses: i % 5 === 1 ? ['192.0.2.10', '2001:db8:2::10'] : [`10.${20 + i}.0.1`],
    sources: i % 7 === 6 ? Array.from({ length: 32 }, (_, n) => `10.${20 + i}.${n}.0/25`) : sources, ...(i % 7 === 6 ? { sources_total: 250 } : {}),
    doors: (DOORS[name] ?? [['syslog-tls', 'tcp', 6514], ['relp', 'tcp', 2514]]).map(([service, protocol, port]) => ({ service, protocol, port })), flows: [],
    limits: { connections: 256, connections_per_s: 50, datagrams_per_s: name === 'machines' ? 2000 : 0, sources: 1024 } };
};

const OTHERS = [
  { name: 'operator', kind: 'operator', interface: 'eth0', process: 'stele-web', addresses: ['203.0.113.5'], sources: ['203.0.113.0/27'],
    doors: [{ service: 'viewer', protocol: 'tcp', port: 9443 }], flows: [] },
  { name: 'alert', kind: 'alert', interface: 'eth0', process: 'stele-courier', addresses: ['203.0.113.5'], sources: [], doors: [],
    flows: [{ name: 'siem', destinations: ['203.0.113.61'], ports: ['tcp/6514'] }, { name: 'pager', destinations: ['203.0.113.62', '203.0.113.63'], ports: ['tcp/443'] }] },
  { name: 'management', kind: 'management', interface: 'eth0', process: 'system', addresses: ['203.0.113.5'], sources: ['203.0.113.32/28'],
    doors: [{ service: 'tcp/22', protocol: 'tcp', port: 22 }], flows: [{ name: 'time', destinations: ['203.0.113.40'], ports: ['udp/123'] }] },
  { name: 'witness', kind: 'witness', interface: 'eth0', process: 'stele-courier', addresses: ['203.0.113.5'], sources: [], doors: [],
    flows: [{ name: 'city', destinations: ['198.51.100.80'], ports: ['tcp/8443'] }] },
  { name: 'archive', kind: 'archive', interface: 'eth0', process: 'stele-archive', addresses: ['203.0.113.5'], sources: [], doors: [],
    flows: [{ name: 'vault', destinations: ['203.0.113.90'], ports: ['tcp/22'] }] }];

/** `count` zones: two or more that send records, then those of people and ways out. */
export function fixtureZones(count) {
  const others = count <= 5 ? OTHERS.slice(0, 2) : OTHERS;
  return [...Array.from({ length: count - others.length }, (_, i) => ingestZone(i)), ...others];
}

function reachOf(zones) {
  return zones.flatMap((zone) => [
    ...zone.doors.flatMap((door) => zone.addresses.map((address) => ({ direction: 'in', zone: zone.name, interface: zone.interface,
      peers: zone.sources.filter((s) => s.includes(':') === address.includes(':')), address, protocol: door.protocol, port: door.port, service: door.service, process: zone.process }))),
    ...(zone.doors.length === 0 ? [] : zone.addresses.map((address) => ({ direction: 'echo', zone: zone.name, interface: zone.interface,
      peers: zone.sources.filter((s) => s.includes(':') === address.includes(':')), address, protocol: address.includes(':') ? 'icmpv6' : 'icmp', service: 'echo' }))),
    ...zone.flows.flatMap((flow) => flow.ports.map((port) => ({ direction: 'out', zone: zone.name, interface: zone.interface, peers: flow.destinations,
      protocol: port.split('/')[0], port: Number(port.split('/')[1]), service: flow.name, process: zone.process })))]);
}

const digestOf = (text) => createHash('sha256').update(text).digest('hex');

/** Appends the entries; `hostile`: text for the members that people and programs write. Returns the answer of /network. */
export function fixtureNetwork(log, count, endNs, hostile) {
  const zones = fixtureZones(count);
  let random = 11;
  const next = (below) => { random = (random * 48271) % 2147483647; return random % below; };
  const add = (kind, agoNs, payload) => log.append(kind, Buffer.from(JSON.stringify(payload)), { timeNs: endNs - agoNs, format: 'internal', parsed: payload });
  const list = [];
  const policy = (text) => `${text}\n${zones.map((z) => `[[zones]]\nname = "${z.name}"\ninterface = "${z.interface}"\n`).join('\n')}`;
  const first = policy('# the first');
  const second = policy('# ssh for the people who care for the machine');
  const third = policy('# a wider office');
  list.push([150n * HOUR, 'policy', { event: 'policy_change', digest: digestOf(first), policy: first, who: 'anna', why: 'the appliance goes into service', forced: false,
    diff: zones.slice(0, 4).map((z) => `opens   ${z.sources[0] ?? 'stele-courier'} on ${z.interface} (zone ${z.name})`), approvals: [{ name: 'anna', key: 'ed25519:4c1f09aa' }, { name: 'bert', key: 'ed25519:90be71d2' }] }],
  [150n * HOUR - 2_000_000_000n, 'policy', { event: 'policy_applied', digest: digestOf(first) }],
  [71n * HOUR, 'policy', { event: 'policy_change', digest: digestOf(second), policy: second, who: 'carl', why: 'SSH from the management network, ticket 4711', forced: true,
    diff: ['opens   203.0.113.32/28 on eth0 (zone management) -> 203.0.113.5 tcp/22 (tcp/22, system)', 'closes  10.20.128.0/17 on eth1 (zone machines) -> 10.20.0.1 udp/514 (syslog-udp, stele-receive@machines)', 'limit   zone machines: connections of a source from 256 to 16'],
    approvals: [{ name: 'carl', key: 'ed25519:1122aabb' }] }],
  [71n * HOUR - 1_500_000_000n, 'policy', { event: 'policy_failed', digest: digestOf(second), text: 'interface eth9 does not exist; the rules before it stay' }],
  [70n * HOUR, 'policy', { event: 'policy_change', digest: digestOf(third), policy: third, who: 'anna', why: hostile, forced: false, diff: ['opens   198.51.100.0/25 on eth2 (zone office) -> 192.0.2.10 tcp/6514 (syslog-tls, stele-receive@office)'],
    approvals: [{ name: 'anna', key: 'ed25519:4c1f09aa' }, { name: hostile, key: hostile }] }],
  [70n * HOUR - 1_200_000_000n, 'policy', { event: 'policy_applied', digest: digestOf(third) }],
  [40n * HOUR, 'policy', { event: 'policy_applied', digest: digestOf(third), at_start: true }],
  [20n * HOUR, 'alarm', { alarm: 'policy_drift', text: 'the rules of the kernel are not those of the policy', differences: ['added: rule in chain machines: tcp dport 23 accept'], program: 'nft', process: 40711 }],
  [20n * HOUR - 900_000_000n, 'alarm', { alarm: 'policy_restored', text: 'the rules of the policy are in force again', differences: [], program: '', process: 0 }]);
  const ingest = zones.filter((z) => z.kind === 'ingest');
  const reasons = ['port', 'source', 'spoofed', 'rate', 'connections', 'icmp'];
  for (let i = 0; i < 130; i++) {
    const zone = ingest[next(next(3) === 0 ? ingest.length : Math.min(3, ingest.length))];
    const ago = (BigInt(next(165)) * HOUR) + BigInt(next(3_600)) * 1_000_000_000n;
    list.push([ago, 'alarm', { alarm: 'policy_violation', zone: zone.name, reason: reasons[next(next(2) === 0 ? 6 : 2)], source: `10.${20 + ingest.indexOf(zone)}.${next(250)}.${1 + next(250)}`,
      destination: zone.addresses[0], protocol: next(3) === 0 ? 'udp' : 'tcp', port: [22, 23, 80, 135, 445, 3389, 8080, 502][next(8)], packets: 1 + next(60),
      from_ns: Number(endNs - ago - 60_000_000_000n), to_ns: Number(endNs - ago) }]);
  }
  list.push([31n * HOUR, 'alarm', { alarm: 'policy_scan', zone: ingest[0].name, reason: 'port', source: '10.20.7.66', ports: 3412, addresses: 2, packets: 6824, from_ns: Number(endNs - 32n * HOUR), to_ns: Number(endNs - 31n * HOUR) }],
    [30n * HOUR, 'alarm', { alarm: 'policy_crossing', zone: ingest[0].name, reason: 'egress', target: 'operator', source: '10.20.7.66', destination: '203.0.113.5', protocol: 'tcp', port: 9443, packets: 211, from_ns: Number(endNs - 31n * HOUR), to_ns: Number(endNs - 30n * HOUR) }],
    [6n * HOUR, 'alarm', { alarm: 'policy_violations_uncounted', zone: null, cause: 'more at once than could be read', packets: 940, from_ns: Number(endNs - 6n * HOUR), to_ns: Number(endNs - 6n * HOUR) }],
    [5n * HOUR, 'alarm', { alarm: 'policy_violation', zone: ingest.at(-1).name, reason: hostile, source: hostile, packets: 3 }]);
  const entries = list.sort((a, b) => (a[0] > b[0] ? -1 : a[0] < b[0] ? 1 : 0)).map(([ago, kind, payload]) => ({ payload, record: add(kind, ago, payload) }));
  const newest = (...events) => {
    const found = entries.filter((one) => events.includes(one.payload.event)).at(-1);
    return { seq: found.record.seq, time: new Date(Number(found.record.timeNs / 1_000_000n)).toISOString(), event: found.payload.event, digest: found.payload.digest,
      ...(found.payload.who === undefined ? {} : { who: found.payload.who, why: found.payload.why }) };
  };
  const reach = reachOf(zones);
  return {
    configured: true, problem: '', zones, reach, reach_total: reach.length, guard_runs: true, limited: false, state: 'applied',
    findings: [{ severity: 'warning', line: 31, text: 'zone office: allowed_sources has 384 addresses for one listener' }],
    last: { complete: true, change: newest('policy_change'), outcome: newest('policy_applied', 'policy_failed') } };
}
