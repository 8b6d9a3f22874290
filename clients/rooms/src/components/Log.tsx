/** The room's log, the answers that are being made, and what is still on its way from here. */

import { useMemo } from "preact/hooks";
import { Scroller } from "@wsserver/shared/components/Scroller.js";
import { loadingHistory, loadOlder } from "../state/here.js";
import type { RoomState } from "../state/room.js";
import { outgoing } from "../state/talking.js";
import { timeline } from "../state/timeline.js";
import { LogAnnouncer } from "./LogAnnouncer.js";
import { LiveAnswer, LoggedAnswer } from "./AnswerLine.js";
import { Line, OutgoingLine } from "./Line.js";

export function Log({ state }: { state: RoomState }) {
  const { log, notices, open, hasMore, epoch } = state;
  const items = useMemo(() => timeline({ log, notices }), [log, notices]);
  // One's own words are always shown, wherever one stood.
  const own = outgoing.value.at(-1)?.key ?? "";
  return (
    <section class="conversation" aria-label="Conversation" data-testid="log" data-epoch={epoch}>
      <Scroller jumpOn={own} first={log[0]?.seq} onTop={() => void loadOlder()}>
        {hasMore && (
          <button type="button" class="pill older" onClick={() => void loadOlder()} disabled={loadingHistory.value} data-testid="older">
            {loadingHistory.value ? "Loading …" : "Earlier messages"}
          </button>
        )}
        {items.map((item) => {
          if (item.kind === "notice") return <p key={item.key} class="notice" data-testid="notice">{item.notice.text}</p>;
          const { entry } = item;
          if (entry.role === "assistant") return <LoggedAnswer key={item.key} state={state} entry={entry} />;
          return <Line key={item.key} state={state} entry={entry} joined={item.joined} />;
        })}
        {open.map((answer, index) => (
          <LiveAnswer key={answer.streamId} state={state} open={answer} ahead={ahead(state, index)} />
        ))}
        {outgoing.value.map((item) => <OutgoingLine key={item.key} item={item} />)}
        {epoch === "" && <p class="notice" role="status">Entering …</p>}
        {epoch !== "" && items.length === 0 && <p class="notice">Nothing has been said here yet.</p>}
      </Scroller>
      <LogAnnouncer state={state} />
    </section>
  );
}

/** How many answers the one at `index` has to wait for. */
function ahead({ open, endings, settings }: RoomState, index: number): number {
  if (settings.whenBusy === "parallel") return 0;
  return open.slice(0, index).filter(({ streamId }) => !(streamId in endings)).length;
}
