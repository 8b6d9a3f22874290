/** How one is there: typing, reading, or away. Told when it changes, and again while one types on. */

import { present } from "./here.js";
import type { RoomState } from "./room.js";

/** A typing sign that was not renewed for so many milliseconds is no longer shown. */
export const TYPING_SHOWN = 8_000;
const RENEWED = 4_000;
const PAUSE = 5_000;

/** Whether a member types, as far as was told lately: a tab that was closed says no more of it. */
export function isTyping({ typed }: RoomState, userId: string, now: number): boolean {
  return now - (typed[userId] ?? 0) < TYPING_SHOWN;
}

let typing = false;
let toldAt = 0;
let pause: ReturnType<typeof setTimeout> | undefined;

document.addEventListener("visibilitychange", () => {
  if (document.hidden) stopTyping(false);
  tell();
});

/** A letter was typed. */
export function typed(): void {
  clearTimeout(pause);
  pause = setTimeout(() => stopTyping(), PAUSE);
  if (typing && Date.now() - toldAt < RENEWED) return;
  typing = true;
  tell();
}

export function stopTyping(told = true): void {
  clearTimeout(pause);
  if (!typing) return;
  typing = false;
  if (told) tell();
}

function tell(): void {
  toldAt = Date.now();
  const away = document.hidden;
  // A sign that does not get there is made up for by the next one, or by coming back.
  present()?.setPresence({ typing, away }).catch(() => undefined);
}
