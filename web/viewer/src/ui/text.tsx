// Hostile text on the screen: text nodes inside an isolated left-to-right span, tokens in boxes. No other component writes
// text that a sender chose.
import { useMemo } from 'preact/hooks';
import { type EscapeOptions, type Segment, type Shown, escapeText, highlight, plainText } from '../text/escape.js';

function renderSegment(segment: Segment, index: number) {
  switch (segment.kind) {
    case 't': return segment.text;
    case 'x': return <span key={index} class="token" title={segment.title}>{segment.text}</span>;
    case 'h': return <span key={index} class="mixed" title={segment.title}>{segment.text}</span>;
    case 'm': return <mark key={index}>{segment.text}</mark>;
  }
}

export function ShownText({ shown, needles = [], class: className = '' }: { shown: Shown; needles?: string[]; class?: string }) {
  const segments = needles.length === 0 ? shown.segments : highlight(shown.segments, needles);
  return (
    <span dir="ltr" class={`hostile ${className}`}>
      {segments.map(renderSegment)}
      {shown.cut ? <span class="cut" title="the text goes on">{'\u2026'}</span> : null}
    </span>
  );
}

interface HostileProps extends EscapeOptions { text: string | Uint8Array; class?: string; needles?: string[] }

export function Hostile({ text, class: className, needles, ansi, breaks, limit }: HostileProps) {
  const shown = useMemo(
    () => escapeText(text, { ansi: ansi ?? 'strip', breaks: breaks ?? false, limit: limit ?? 2000 }), [text, ansi, breaks, limit]);
  return <ShownText shown={shown} {...(className === undefined ? {} : { class: className })} needles={needles ?? []} />;
}

/** For attributes (title, aria-label): the same escaping, as plain text. */
export const hostileTitle = (text: string): string => plainText(escapeText(text, { limit: 300 }));
