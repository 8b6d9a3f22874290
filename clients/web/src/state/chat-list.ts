/** The list of chats beside the conversation: the newest ones, or those that were looked for. */

import { signal } from "@preact/signals";
import type { ChatBackend, ChatSummary } from "./chats.js";

export const chats = signal<ChatSummary[]>([]);
/** What is looked for in titles and messages; empty: nothing. */
export const chatQuery = signal("");

/** Reads the list anew. */
export async function readChats(backend: ChatBackend): Promise<void> {
  const query = chatQuery.value.trim();
  let found: ChatSummary[];
  try {
    found = await backend.list(query);
  } catch {
    // The list shown stays; the next `ready` asks again.
    return;
  }
  // The next letter asks for something else meanwhile.
  if (query === chatQuery.value.trim()) chats.value = found.sort((a, b) => b.updatedAt - a.updatedAt);
}
