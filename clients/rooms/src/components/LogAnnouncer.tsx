/**
 * Tells a screen reader what others say and what happens, each once, and each finished paragraph of
 * an answer. The visible log is no live region: a growing text would be read anew with every piece.
 */

import { useEffect, useRef } from "preact/hooks";
import { Announcer } from "@wsserver/shared/components/Announcer.js";
import { answers } from "../state/here.js";
import type { RoomState } from "../state/room.js";

const KEPT = 20;
/** Answers that may still be spoken of: those that run, and those that have just ended. */
const SPOKEN = 4;

export function LogAnnouncer({ state }: { state: RoomState }) {
  const region = useRef<HTMLDivElement>(null);
  const said = useRef<{ seq: number; notice: number } | null>(null);
  const { log, notices, epoch, me } = state;
  const now = { seq: log.at(-1)?.seq ?? 0, notice: notices.at(-1)?.key ?? 0 };

  useEffect(() => {
    const element = region.current;
    if (!element || epoch === "") return;
    const before = said.current;
    said.current = now;
    // What was there before one came is read in the log itself.
    if (!before) return;
    const spoken = log.filter(({ seq, role, userId }) => seq > before.seq && role === "user" && userId !== me.userId);
    const texts = [
      ...spoken.map(({ name, text, streamId }) => `${name ?? "Someone"} ${streamId === null ? "says" : "asks"}: ${text ?? ""}`),
      ...notices.filter(({ key }) => key > before.notice).map(({ text }) => text),
    ];
    for (const text of texts) {
      const line = document.createElement("p");
      line.textContent = text;
      element.append(line);
    }
    while (element.childElementCount > KEPT) element.firstElementChild?.remove();
  }, [now.seq, now.notice, epoch]);

  return (
    <>
      <div ref={region} class="hidden" role="log" aria-live="polite" aria-label="What is new" data-testid="announcer" />
      {[...answers.value].slice(-SPOKEN).map(([streamId, answer]) => <Announcer key={streamId} answer={answer} />)}
    </>
  );
}
