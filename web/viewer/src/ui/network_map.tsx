// The picture: who may come in, which process meets them, and what may begin here. What is not drawn is dropped.
import type { NetworkAnswer, NetworkZone } from '../api.js';
import { type FlowBox, type Picture, type ProcessBox, type ZoneBox, fit, fitList, layoutOf } from '../network/layout.js';
import { formatCount } from '../time.js';
import { escapeText, plainText } from '../text/escape.js';

const MONO = 7.0;            // width of a character at 11.5 px, with a little room
const BOLD = 8.0;            // at 13 px
const PAD = 14;
const TEXT_LEFT = 38;

const safe = (text: string): string => plainText(escapeText(text, { limit: 200 }));

/** A sign for each kind of zone, 14 units square. */
const SIGNS: Record<string, string> = {
  ingest: 'M7 1v8m-3.2-3L7 9.2 10.2 6M1.5 10v3h11v-3',
  operator: 'M7 1.2a2.8 2.8 0 1 1 0 5.6 2.8 2.8 0 0 1 0-5.6zM1.5 13c.6-3 2.8-4.2 5.5-4.2s4.9 1.2 5.5 4.2',
  management: 'M1 4h3.2m4 0H13M1 10h6m4 0h2M4.2 2.2v3.6h4V2.2zM7 8.2v3.6h4V8.2z',
  archive: 'M1.2 1.8h11.6v3H1.2zM2.2 4.8v7.4h9.6V4.8M5.2 7.6h3.6',
  witness: 'M7 1a6 6 0 1 1 0 12A6 6 0 0 1 7 1zM4.2 7.2l2 2 3.6-4.2',
  alert: 'M7 1.6 13.2 12.4H.8zM7 5.4v3.4m0 1.6v.4',
};

function Sign({ kind, x, y }: { kind: string; x: number; y: number }) {
  return <path class="sign" transform={`translate(${x} ${y})`} d={SIGNS[kind] ?? SIGNS['ingest']} />;
}

const lines = (height: number): { first: number; second: number } =>
  (height >= 58 ? { first: 24, second: 44 } : height >= 50 ? { first: 21, second: 39 } : { first: 17, second: 33 });

const sourcesOf = (zone: NetworkZone): string[] => (zone.cut === true ? ['see the configuration'] : (zone.sources ?? []).length > 0 ? zone.sources ?? [] : ['any address']);

/** The tip: all of what the box may have to cut. */
function zoneTitle(zone: NetworkZone, dropped: number): string {
  const parts = [`zone ${zone.name}`, zone.kind ?? '', zone.interface === undefined || zone.interface === '' ? 'no interface' : zone.interface,
    `from ${sourcesOf(zone).slice(0, 3).join(', ')}`, `to ${(zone.addresses ?? []).slice(0, 3).join(', ')}`,
    dropped > 0 ? `${dropped} packets dropped` : 'nothing dropped'];
  return safe(parts.filter((part) => part !== '').join('; '));
}

interface MapProps { network: NetworkAnswer; dropped: Map<string, number>; selected: string; onSelect: (zone: string) => void }

function Zone({ box, dropped, selected, onSelect }: { box: ZoneBox; dropped: number; selected: boolean; onSelect: (zone: string) => void }) {
  const { zone } = box;
  const at = lines(box.height);
  const addresses = fitList((zone.addresses ?? []).map(safe), 150, MONO);
  const press = (): void => onSelect(selected ? '' : zone.name);
  return (
    <g class={`node zone ${selected ? 'selected' : ''}`} role="button" tabindex={0} aria-pressed={selected} data-zone={zone.name}
      onClick={press} onKeyDown={(event) => {
        if (event.key !== 'Enter' && event.key !== ' ') return;
        event.preventDefault();
        event.stopPropagation();
        press();
      }}>
      <rect class="box" x={box.x} y={box.y} width={box.width} height={box.height} rx="5"><title>{zoneTitle(zone, dropped)}</title></rect>
      <Sign kind={zone.kind ?? ''} x={box.x + PAD} y={box.y + at.first - 11} />
      <text x={box.x + TEXT_LEFT} y={box.y + at.first}>
        <tspan class="name">{fit(safe(zone.name), 170, BOLD)}</tspan>
        {' '}<tspan class="side" dx="5">{safe(zone.kind ?? '')}{zone.interface === undefined || zone.interface === '' ? '' : ` \u00b7 ${fit(safe(zone.interface), 110, MONO)}`}</tspan>
      </text>
      {dropped === 0 ? null : (
        <text class="drops" x={box.x + box.width - PAD} y={box.y + at.first} text-anchor="end">{`\u25b2 ${formatCount(dropped)} dropped`}</text>)}
      <text class="mono" x={box.x + TEXT_LEFT} y={box.y + at.second}>
        {fitList(sourcesOf(zone).map(safe), box.width - TEXT_LEFT - PAD - (addresses.length + 3) * MONO, MONO, Math.max(zone.sources_total ?? 0, sourcesOf(zone).length))}</text>
      <text class="mono" x={box.x + box.width - PAD} y={box.y + at.second} text-anchor="end">{addresses === '' ? '' : `\u2192 ${addresses}`}</text>
    </g>
  );
}

function Process({ box, zones }: { box: ProcessBox; zones: NetworkZone[] }) {
  const at = lines(box.height);
  const doors = [...new Set(zones.filter((zone) => box.zones.includes(zone.name)).flatMap((zone) => (zone.doors ?? []).map((d) => `${d.protocol}/${d.port}`)))];
  const flows = zones.filter((zone) => box.zones.includes(zone.name)).reduce((sum, zone) => sum + (zone.flows ?? []).length, 0);
  const second = doors.length > 0 ? fitList(doors.map(safe), box.width - 2 * PAD, MONO) : flows > 0 ? 'listens to nobody' : '';
  return (
    <g class="node process">
      <title>{safe(`${box.name}: ${doors.length === 0 ? 'no listener' : doors.join(', ')}`)}</title>
      <rect class="box" x={box.x} y={box.y} width={box.width} height={box.height} rx="5" />
      <text class="name" x={box.x + PAD} y={box.y + at.first}>{fit(safe(box.name), box.width - 2 * PAD, BOLD)}</text>
      <text class="mono" x={box.x + PAD} y={box.y + at.second}>{second}</text>
    </g>
  );
}

function Flow({ box, selected }: { box: FlowBox; selected: boolean }) {
  const at = lines(box.height);
  const ports = fitList(box.ports.map(safe), 130, MONO);
  return (
    <g class={`node flow ${selected ? 'selected' : ''}`}>
      <title>{safe(`flow ${box.name} of zone ${box.zone}: to ${box.destinations.join(', ')}, ${box.ports.join(', ')}`)}</title>
      <rect class="box" x={box.x} y={box.y} width={box.width} height={box.height} rx="5" />
      <text x={box.x + PAD} y={box.y + at.first}>
        <tspan class="name">{fit(safe(box.name), 130, BOLD)}</tspan>
        {' '}<tspan class="side" dx="5">{fit(safe(`${box.zone}${box.interface === '' ? '' : ` \u00b7 ${box.interface}`}`), 160, MONO)}</tspan>
      </text>
      <text class="mono" x={box.x + PAD} y={box.y + at.second}>{fitList(box.destinations.map(safe), box.width - 2 * PAD - (ports.length + 1) * MONO, MONO)}</text>
      <text class="mono" x={box.x + box.width - PAD} y={box.y + at.second} text-anchor="end">{ports}</text>
    </g>
  );
}

function Edges({ picture, selected, loose }: { picture: Picture; selected: string; loose: boolean }) {
  const mine = (zone: string): boolean => zone === selected;
  const sorted = [...picture.edges].sort((a, b) => Number(mine(a.zone)) - Number(mine(b.zone)));     // the chosen one on top
  return (
    <g class={`edges ${loose ? 'loose' : ''}`} aria-hidden="true">
      {sorted.map((edge) => <path key={edge.id} class={mine(edge.zone) ? 'edge selected' : 'edge'} d={edge.path}
        marker-end={mine(edge.zone) ? 'url(#arrow-selected)' : 'url(#arrow)'} />)}
    </g>
  );
}

function Arrow({ id }: { id: string }) {
  return (
    <marker id={id} viewBox="0 0 8 8" refX="1" refY="4" markerWidth="8" markerHeight="8" markerUnits="userSpaceOnUse" orient="auto">
      <path d="M0 .6 7.6 4 0 7.4z" />
    </marker>
  );
}

export function NetworkMap({ network, dropped, selected, onSelect }: MapProps) {
  const picture = layoutOf(network);
  const { frame } = picture;
  const loose = network.state !== 'applied' && network.state !== 'pending' && network.state !== 'failed';
  return (
    <svg class="map" viewBox={`0 0 ${picture.width} ${picture.height}`} role="group" aria-label="Zones, processes and flows; the table below says the same">
      <defs><Arrow id="arrow" /><Arrow id="arrow-selected" /></defs>
      <g class="headings" aria-hidden="true">
        <text x="2" y="13">Who may come in</text>
        <text x={frame.x} y="13">This appliance</text>
        <text x={frame.x + frame.width + 100} y="13">What may begin here</text>
      </g>
      <rect class="frame" x={frame.x} y={frame.y} width={frame.width} height={frame.height} rx="9" />
      <Edges picture={picture} selected={selected} loose={loose} />
      {picture.zones.map((box) => <Zone key={box.id} box={box} dropped={dropped.get(box.zone.name) ?? 0} selected={selected === box.zone.name} onSelect={onSelect} />)}
      {picture.processes.map((box) => <Process key={box.id} box={box} zones={network.zones} />)}
      {picture.flows.map((box) => <Flow key={box.id} box={box} selected={selected === box.zone} />)}
      {picture.flows.length > 0 ? null : <text class="side" x={frame.x + frame.width + 100} y={frame.y + 34}>nothing: no flow is named</text>}
    </svg>
  );
}
