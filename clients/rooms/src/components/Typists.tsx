/** Who is writing right now. Says nothing to screen readers, which would be told with every letter. */

import { isTyping } from "../state/presence.js";
import { called, type RoomState } from "../state/room.js";
import { useTicking } from "./useTicking.js";

const NAMED = 3;

export function Typists({ state }: { state: RoomState }) {
  const now = useTicking(Object.keys(state.typed).length > 0);
  const names = state.members
    .filter(({ userId }) => userId !== state.me.userId && isTyping(state, userId, now))
    .map(called);
  return (
    <p class="typists" aria-hidden="true" data-testid="typists">
      {names.length > 0 && sentence(names)}
    </p>
  );
}

export function sentence(names: readonly string[]): string {
  if (names.length > NAMED) return "Several people are typing …";
  const listed = names.length === 1 ? names[0] : `${names.slice(0, -1).join(", ")} and ${names.at(-1)}`;
  return `${listed} ${names.length === 1 ? "is" : "are"} typing …`;
}
