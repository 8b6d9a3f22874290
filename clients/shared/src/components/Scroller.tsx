/**
 * A column of things that grows, and where the reader stands in it: at the end it follows what
 * comes, anywhere else it stays, with a way back. What is put in front moves nothing either.
 */

import type { ComponentChildren } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { ArrowDown } from "./icons.js";

/** Pixels from an end that still count as it. */
const NEAR = 48;

interface ScrollerProps {
  children: ComponentChildren;
  /** The end is shown, wherever one stood, when this changes. */
  jumpOn: unknown;
  /** What stands first; another one means that something was put in front. */
  first?: unknown;
  /** The reader came to the beginning. */
  onTop?: () => void;
  /** Whether the reader follows the end. */
  onFollow?: (follows: boolean) => void;
}

export function Scroller({ children, jumpOn, first, onTop, onFollow }: ScrollerProps) {
  const box = useRef<HTMLDivElement>(null);
  const content = useRef<HTMLDivElement>(null);
  const follows = useRef(true);
  const lastTop = useRef(0);
  const lastHeight = useRef(0);
  const [away, setAway] = useState(false);

  const settle = (following: boolean) => {
    follows.current = following;
    setAway(!following);
    onFollow?.(following);
  };
  const follow = () => {
    const element = box.current;
    if (!element) return;
    lastHeight.current = element.scrollHeight;
    if (!follows.current) return;
    element.scrollTop = element.scrollHeight;
    lastTop.current = element.scrollTop;
  };
  const jump = () => {
    settle(true);
    follow();
  };
  const onScroll = () => {
    const element = box.current;
    if (!element) return;
    const left = element.scrollHeight - element.scrollTop - element.clientHeight;
    // Text that grows below also makes us "away from the end"; only going up means leaving it.
    if (left < NEAR) settle(true);
    else if (element.scrollTop < lastTop.current) settle(false);
    if (element.scrollTop < NEAR && element.scrollTop < lastTop.current) onTop?.();
    lastTop.current = element.scrollTop;
  };

  useLayoutEffect(jump, [jumpOn]);
  useLayoutEffect(() => {
    const element = box.current;
    if (!element || follows.current) return;
    element.scrollTop += element.scrollHeight - lastHeight.current;
    lastTop.current = element.scrollTop;
    lastHeight.current = element.scrollHeight;
  }, [first]);
  useEffect(() => {
    if (!content.current || !box.current) return;
    const observer = new ResizeObserver(follow);
    observer.observe(content.current);
    observer.observe(box.current);
    return () => observer.disconnect();
  }, []);

  return (
    <>
      <div class="scroll" ref={box} onScroll={onScroll} tabIndex={-1} data-testid="scroll">
        <div class="column" ref={content}>{children}</div>
      </div>
      {away && (
        <button type="button" class="jump" onClick={jump} data-testid="jump">
          <ArrowDown /> <span>Jump to latest</span>
        </button>
      )}
    </>
  );
}
