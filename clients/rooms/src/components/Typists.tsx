/** Who is writing right now. Says nothing to screen readers, which would be told with every letter. */

import { useEffect, useState } from "preact/hooks";
import { TYPING_SHOWN } from "../state/presence.js";
import { called, type RoomState } from "../state/room.js";

const NAMED = 3;

export function Typists({ state: { members, typed, me } }: { state: RoomState }) {
  const now = useTicking(Object.keys(typed).length > 0);
  const names = members
    .filter(({ userId }) => userId !== me.userId && now - (typed[userId] ?? 0) < TYPING_SHOWN)
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

function useTicking(on: boolean): number {
  const [, setTick] = useState(0);
  useEffect(() => {
    if (!on) return;
    const timer = setInterval(() => setTick(Date.now()), 1_000);
    return () => clearInterval(timer);
  }, [on]);
  return Date.now();
}
