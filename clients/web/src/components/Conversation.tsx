/**
 * The turns, and where the reader stands in them: at the end it follows what comes, anywhere else
 * it stays, with a way back.
 */

import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { lastAnswer, turns } from "../state/conversation.js";
import { Announcer } from "./Announcer.js";
import { ArrowDown } from "./icons.js";
import { Message } from "./Message.js";
import { Welcome } from "./Welcome.js";

/** Pixels from the end that still count as the end. */
const NEAR = 48;

export function Conversation() {
  const box = useRef<HTMLDivElement>(null);
  const content = useRef<HTMLDivElement>(null);
  const follows = useRef(true);
  const lastTop = useRef(0);
  const [away, setAway] = useState(false);
  const list = turns.value;

  const follow = () => {
    const element = box.current;
    if (!element || !follows.current) return;
    element.scrollTop = element.scrollHeight;
    lastTop.current = element.scrollTop;
  };
  const jump = () => {
    follows.current = true;
    setAway(false);
    follow();
  };
  const onScroll = () => {
    const element = box.current;
    if (!element) return;
    const left = element.scrollHeight - element.scrollTop - element.clientHeight;
    // Text that grows below also makes us "away from the end"; only going up means leaving it.
    if (left < NEAR) follows.current = true;
    else if (element.scrollTop < lastTop.current) follows.current = false;
    lastTop.current = element.scrollTop;
    setAway(!follows.current);
  };

  // A question of one's own is always shown, wherever one stood.
  useLayoutEffect(jump, [list]);
  useEffect(() => {
    if (!content.current || !box.current) return;
    const observer = new ResizeObserver(follow);
    observer.observe(content.current);
    observer.observe(box.current);
    return () => observer.disconnect();
  }, []);

  const questions = list.filter(({ role }) => role === "user");
  const lastQuestion = questions.at(-1);
  return (
    <div class="conversation">
      <div class="scroll" ref={box} onScroll={onScroll} tabIndex={-1}>
        <div class="column" ref={content}>
          {list.length === 0 && <Welcome />}
          {list.map((turn) => (
            <Message
              key={turn.key}
              turn={turn}
              last={turn === lastAnswer.value}
              lastQuestion={turn === lastQuestion}
            />
          ))}
        </div>
      </div>
      {away && (
        <button type="button" class="jump" onClick={jump} data-testid="jump">
          <ArrowDown /> <span>Jump to latest</span>
        </button>
      )}
      <Announcer answer={lastAnswer.value} />
    </div>
  );
}
