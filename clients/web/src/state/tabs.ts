/**
 * Which answers run in which chats, known to all tabs of this browser and over a reload.
 *
 * Only a hint: a tab that crashed leaves its entry behind, and who follows it learns from the
 * server that the answer has ended.
 */

import { permanent } from "@wsserver/shared/state/storage.js";

const KEY = "running";

export interface Running {
  streamId: string;
  /** Where in the answer its text begins: a continued answer has text from before. */
  from: number;
}

export function runningIn(chatId: string): Running | null {
  return read()[chatId] ?? null;
}

export function announceRunning(chatId: string, running: Running): void {
  if (runningIn(chatId)?.streamId === running.streamId) return;
  permanent.set(KEY, { ...read(), [chatId]: running });
}

export function announceEnd(chatId: string, streamId: string | null): void {
  const { [chatId]: known, ...others } = read();
  // Another answer may have begun there since.
  if (known?.streamId === streamId) permanent.set(KEY, others);
}

/** Calls back when another tab announced something. */
export function onAnnouncement(listener: () => void): void {
  window.addEventListener("storage", ({ key }) => {
    if (key === permanent.name(KEY)) listener();
  });
}

function read(): Record<string, Running> {
  return permanent.get<Record<string, Running>>(KEY) ?? {};
}
