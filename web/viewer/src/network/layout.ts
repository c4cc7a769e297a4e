// Where things stand in the picture of the network: zones on the left, Stele's processes in the middle, flows to the outside
// on the right. Pure: data in, boxes and curves out, in the units of the picture.
import type { NetworkAnswer, NetworkZone } from '../api.js';

export interface Box { id: string; x: number; y: number; width: number; height: number }
export interface ZoneBox extends Box { zone: NetworkZone }
export interface ProcessBox extends Box { name: string; zones: string[] }
export interface FlowBox extends Box { zone: string; interface: string; name: string; destinations: string[]; ports: string[] }
export interface Edge { id: string; zone: string; path: string }

export interface Picture {
  width: number;
  height: number;
  frame: Box;                // the appliance, around its processes
  zones: ZoneBox[];
  processes: ProcessBox[];
  flows: FlowBox[];
  edges: Edge[];
}

export const WIDTH = 1280;
const TOP = 40;              // room for the headings
const LEFT = { x: 1, width: 430 };
const MIDDLE = { x: 560, width: 250 };
const RIGHT = { x: 940, width: 339 };
const FRAME_MARGIN = 16;

interface Rhythm { box: number; gap: number }

/** Few zones get room to breathe; many are closer, and all of them keep two lines of text. */
const rhythmOf = (rows: number): Rhythm => (rows <= 6 ? { box: 58, gap: 18 } : rows <= 14 ? { box: 50, gap: 10 } : { box: 42, gap: 6 });

const middleOf = (box: Box): number => box.y + box.height / 2;

function curve(from: { x: number; y: number }, to: { x: number; y: number }): string {
  const reach = (to.x - from.x) / 2;
  return `M${from.x} ${from.y}C${from.x + reach} ${from.y} ${to.x - reach} ${to.y} ${to.x} ${to.y}`;
}

/** Puts boxes in a column without overlap, each as near to where it wants to be as those above allow; then shifts back up. */
function settle(boxes: Box[], gap: number, bottom: number): void {
  let least = TOP;
  for (const box of boxes) {
    box.y = Math.max(least, box.y);
    least = box.y + box.height + gap;
  }
  let most = bottom;
  for (const box of [...boxes].reverse()) {
    box.y = Math.max(TOP, Math.min(box.y, most - box.height));
    most = box.y - gap;
  }
}

export function layoutOf(network: Pick<NetworkAnswer, 'zones'>): Picture {
  // Who may come in stands left; a zone that is only a way out stands right alone.
  const inward = network.zones.filter((zone) => (zone.doors ?? []).length > 0 || (zone.flows ?? []).length === 0);
  const flowCount = network.zones.reduce((sum, zone) => sum + (zone.flows ?? []).length, 0);
  const rhythm = rhythmOf(Math.max(inward.length, flowCount));
  const stacked = (n: number): number => Math.max(0, n * (rhythm.box + rhythm.gap) - rhythm.gap);

  const processNames = [...new Set(network.zones.map((zone) => zone.process ?? ''))].filter((name) => name !== '');
  const height = TOP + Math.max(stacked(inward.length), stacked(flowCount), stacked(processNames.length));
  const bottom = height;

  const size = { height: rhythm.box };
  const zones = inward.map((zone, i): ZoneBox => ({
    ...size, id: `zone:${zone.name}`, zone, x: LEFT.x, width: LEFT.width, y: TOP + i * (rhythm.box + rhythm.gap) }));

  // A process stands beside the zones that it serves; one that only speaks stands below those.
  const processes = processNames.map((name): ProcessBox => {
    const mine = network.zones.filter((zone) => zone.process === name).map((zone) => zone.name);
    const served = zones.filter((box) => mine.includes(box.zone.name));
    const y = served.length === 0 ? bottom : served.reduce((sum, box) => sum + box.y, 0) / served.length;
    return { ...size, id: `process:${name}`, name, zones: mine, x: MIDDLE.x, width: MIDDLE.width, y };
  });
  processes.sort((a, b) => a.y - b.y);
  settle(processes, rhythm.gap, bottom);

  // Flows stand beside the process that speaks, in its order, so that their lines do not cross.
  const flows = network.zones.flatMap((zone) => {
    const process = processes.find((one) => one.zones.includes(zone.name));
    return (zone.flows ?? []).map((flow, i): FlowBox => ({
      ...size, id: `flow:${zone.name}:${flow.name}:${i}`, zone: zone.name, interface: zone.interface ?? '', name: flow.name,
      destinations: flow.destinations ?? [], ports: flow.ports ?? [], x: RIGHT.x, width: RIGHT.width, y: process?.y ?? TOP }));
  });
  const rank = (box: FlowBox): number => processes.findIndex((one) => one.zones.includes(box.zone));
  flows.sort((a, b) => rank(a) - rank(b));
  settle(flows, rhythm.gap, bottom);

  const edges: Edge[] = [];
  for (const box of zones) {
    const process = processes.find((one) => one.name === box.zone.process);
    if (process === undefined || (box.zone.doors ?? []).length === 0) continue;
    edges.push({ id: box.id, zone: box.zone.name,
      path: curve({ x: box.x + box.width, y: middleOf(box) }, { x: process.x - 7, y: middleOf(process) }) });
  }
  for (const box of flows) {
    const process = processes.find((one) => one.zones.includes(box.zone));
    if (process === undefined) continue;
    edges.push({ id: box.id, zone: box.zone, path: curve({ x: process.x + process.width, y: middleOf(process) }, { x: box.x - 7, y: middleOf(box) }) });
  }
  return {
    width: WIDTH, height: height + FRAME_MARGIN + 2, zones, processes, flows, edges,
    frame: { id: 'appliance', x: MIDDLE.x - FRAME_MARGIN, y: TOP - FRAME_MARGIN, width: MIDDLE.width + 2 * FRAME_MARGIN, height: height - TOP + 2 * FRAME_MARGIN },
  };
}

/** Cut to what fits, by a width of characters that no font here passes; the whole text is in the box's title. */
export function fit(text: string, width: number, characterWidth: number): string {
  const characters = [...text];
  const most = Math.max(1, Math.floor(width / characterWidth));
  return characters.length <= most ? text : `${characters.slice(0, most - 1).join('')}\u2026`;
}

/** As many of them as fit, and how many more there are. */
export function fitList(items: string[], width: number, characterWidth: number, total: number = items.length): string {
  const most = Math.floor(width / characterWidth);
  for (let shown = items.length; shown > 0; shown--) {
    const more = total - shown;
    const line = `${items.slice(0, shown).join('  ')}${more > 0 ? `  +${more}` : ''}`;
    if (line.length <= most) return line;
  }
  return items.length === 0 ? '' : fit(`${items[0] ?? ''}${total > 1 ? `  +${total - 1}` : ''}`, width, characterWidth);
}
