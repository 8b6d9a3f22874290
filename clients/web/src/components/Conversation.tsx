/** The turns of the chat. */

import { Announcer } from "@wsserver/shared/components/Announcer.js";
import { Scroller } from "@wsserver/shared/components/Scroller.js";
import { lastAnswer, turns } from "../state/conversation.js";
import { Message } from "./Message.js";
import { Welcome } from "./Welcome.js";

export function Conversation() {
  const list = turns.value;
  const lastQuestion = list.findLast(({ role }) => role === "user");
  return (
    <div class="conversation">
      {/* A question of one's own is always shown, wherever one stood. */}
      <Scroller jumpOn={list}>
        {list.length === 0 && <Welcome />}
        {list.map((turn) => (
          <Message
            key={turn.key}
            turn={turn}
            last={turn === lastAnswer.value}
            lastQuestion={turn === lastQuestion}
          />
        ))}
      </Scroller>
      <Announcer answer={lastAnswer.value} />
    </div>
  );
}
