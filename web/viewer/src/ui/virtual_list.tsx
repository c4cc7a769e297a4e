// A list of rows of one height; only those in sight are in the document. Chromium clamps elements at 33.5 million pixels, so
// the caller bounds the count (50,000 rows are 1.1 million).
import type { ComponentChildren } from 'preact';
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';

const OVERSCAN = 6;

export interface VirtualListProps {
  count: number;
  of: unknown;                                  // what is listed: another value, and the rows in sight are announced again
  rowHeight: number;
  label: string;
  active?: number;                              // kept in sight when it changes
  activeId?: string | undefined;
  follow?: boolean;                             // stay at the end when rows are added
  class?: string;
  row: (index: number) => ComponentChildren;
  onRange?: (first: number, last: number) => void;
  onAway?: () => void;                          // the user scrolled away from the end
}

export function VirtualList(props: VirtualListProps) {
  const { count, rowHeight, active, follow } = props;
  const box = useRef<HTMLDivElement>(null);
  const atEnd = useRef(false);
  const [top, setTop] = useState(0);
  const [height, setHeight] = useState(0);

  useLayoutEffect(() => {
    const element = box.current;
    if (element === null) return undefined;
    const observer = new ResizeObserver(() => {
      setHeight(element.clientHeight);
      if (atEnd.current && props.follow !== undefined) element.scrollTop = element.scrollHeight;      // a shrinking list keeps its last rows
    });
    observer.observe(element);
    setHeight(element.clientHeight);
    return () => observer.disconnect();
  }, []);

  useLayoutEffect(() => {
    const element = box.current;
    if (element === null || active === undefined || active < 0) return;
    const start = active * rowHeight;
    if (start < element.scrollTop) element.scrollTop = start;
    else if (start + rowHeight > element.scrollTop + element.clientHeight) {
      element.scrollTop = start + rowHeight - element.clientHeight;
    }
  }, [active, rowHeight]);

  useLayoutEffect(() => {
    const element = box.current;
    if (element !== null && follow === true) element.scrollTop = element.scrollHeight;
  }, [count, follow, rowHeight, height]);

  const first = Math.max(0, Math.floor(top / rowHeight) - OVERSCAN);
  const last = Math.min(count, Math.ceil((top + height) / rowHeight) + OVERSCAN);
  useEffect(() => props.onRange?.(first, last), [first, last, props.of, props.onRange]);

  const onScroll = (): void => {
    const element = box.current;
    if (element === null) return;
    setTop(element.scrollTop);
    atEnd.current = element.scrollTop + element.clientHeight >= element.scrollHeight - rowHeight;
    if (follow === true && !atEnd.current && element.scrollTop < top) props.onAway?.();
  };

  const rows = [];
  for (let i = first; i < last; i++) rows.push(props.row(i));
  return (
    <div ref={box} class={`list ${props.class ?? ''}`} onScroll={onScroll} tabIndex={0} role="grid" aria-label={props.label}
      aria-rowcount={count} aria-activedescendant={props.activeId}>
      <div class="list-space" role="presentation" style={{ height: `${count * rowHeight}px` }}>
        <div class="list-window" role="rowgroup" style={{ transform: `translateY(${first * rowHeight}px)` }}>{rows}</div>
      </div>
    </div>
  );
}
