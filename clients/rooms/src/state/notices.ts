/** What happens in a room besides the log: who came, what was changed. Kept beside the entries. */

import type { RoomSettings } from "@wsserver/client";
import type { RoomState } from "./room.js";

export interface Notice {
  readonly key: number;
  /** The last entry of the log when it happened. */
  readonly after: number;
  readonly text: string;
  readonly timestamp: number;
}

const KEPT = 100;

export function addNotice(state: RoomState, text: string | null, now: number): RoomState {
  if (text === null) return state;
  const key = (state.notices.at(-1)?.key ?? 0) + 1;
  const notice = { key, after: state.log.at(-1)?.seq ?? 0, text, timestamp: now };
  return { ...state, notices: [...state.notices, notice].slice(-KEPT) };
}

const NAMES: Record<keyof RoomSettings, string> = {
  title: "the title",
  model: "the model",
  systemPrompt: "the system prompt",
  options: "the options",
  maxMembers: "how many may be here",
  access: "who may come in",
  ask: "who may ask",
  whenBusy: "what a second question does",
  locked: "the lock",
};

export function settingsNotice(before: RoomSettings, after: RoomSettings, by: string): string | null {
  const names = Object.keys(NAMES) as (keyof RoomSettings)[];
  const changed = names.filter((name) => JSON.stringify(before[name]) !== JSON.stringify(after[name]));
  if (changed.length === 0) return null;
  if (changed.length === 1 && changed[0] === "locked") return `${by} ${after.locked ? "locked" : "unlocked"} the room`;
  return `${by} changed ${changed.map((name) => NAMES[name]).join(", ")}`;
}
