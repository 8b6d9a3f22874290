/** A room's state as the list that is shown: entries and notices in their order. */

import type { Entry, RoomState } from "./room.js";
import type { Notice } from "./notices.js";

export type Item =
  | { kind: "entry"; key: string; entry: Entry; /** Under the name of the one before. */ joined: boolean }
  | { kind: "notice"; key: string; notice: Notice };

/** What one person says within this many milliseconds stands under one name. */
const TOGETHER = 5 * 60_000;

export function timeline({ log, notices }: Pick<RoomState, "log" | "notices">): Item[] {
  const items: Item[] = [];
  let next = 0;
  const takeNotices = (until: number) => {
    for (; next < notices.length; next++) {
      const notice = notices[next];
      if (!notice || notice.after >= until) break;
      items.push({ kind: "notice", key: `n${notice.key}`, notice });
    }
  };
  for (const entry of log) {
    takeNotices(entry.seq);
    const before = items.at(-1);
    const joined = before?.kind === "entry" && belongs(before.entry, entry);
    items.push({ kind: "entry", key: `e${entry.seq}`, entry, joined });
  }
  takeNotices(Infinity);
  return items;
}

function belongs(before: Entry, entry: Entry): boolean {
  return (
    entry.role === "user" &&
    before.role === "user" &&
    entry.userId !== null &&
    before.userId === entry.userId &&
    entry.timestamp - before.timestamp < TOGETHER
  );
}
