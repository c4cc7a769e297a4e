// Bytes as they are: offset, hexadecimal, and the printable ASCII beside it. Only the lines in sight are in the document.
import { VirtualList } from './virtual_list.js';

const LINE_HEIGHT = 17;

export function hexLine(bytes: Uint8Array, at: number, width: number): { hex: string; text: string } {
  let hex = '';
  let text = '';
  for (let i = 0; i < width; i++) {
    const byte = bytes[at + i];
    hex += byte === undefined ? '   ' : `${byte.toString(16).padStart(2, '0')} `;
    if (byte !== undefined) text += byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : '\u00b7';
    if (i === width / 2 - 1) hex += ' ';
  }
  return { hex, text };
}

export function HexView({ bytes, base, wide }: { bytes: Uint8Array; base: number; wide: boolean }) {
  const width = wide ? 16 : 8;
  const lines = Math.max(1, Math.ceil(bytes.length / width));
  return (
    <VirtualList class="hex" label="Raw bytes, hexadecimal" count={lines} of={bytes} rowHeight={LINE_HEIGHT} row={(i) => {
      const { hex, text } = hexLine(bytes, i * width, width);
      return (
        <div key={i} class="hex-line" role="row">
          <span role="gridcell" class="offset">{(base + i * width).toString(16).padStart(6, '0')}</span>
          <span role="gridcell" class="bytes">{hex}</span>
          <span role="gridcell" class="ascii">{text}</span>
        </div>
      );
    }} />
  );
}
