/**
 * Keeps a conversation within the model's context where the page sends all of it: the newest turns
 * that fit, beginning with a question. A server that keeps sessions does this itself.
 */

import type { ChatMessage } from "@wsserver/client";

/** More than any chat template puts around a turn. */
const TEMPLATE_BYTES = 32;
const DEFAULT_ANSWER = 512;

export interface Fitted {
  messages: ChatMessage[];
  dropped: number;
}

/**
 * @param count Tokens of messages as the model sees them; may fail, then nothing is dropped.
 */
export async function fitContext(
  messages: ChatMessage[],
  context: number,
  maxTokens: number | undefined,
  count: (messages: ChatMessage[]) => Promise<number>,
): Promise<Fitted> {
  const budget = context - Math.min(maxTokens ?? DEFAULT_ANSWER, Math.floor(context / 4));
  let rest = messages;
  // A token is at least one byte: what is short in bytes needs no counting.
  while (rest.length > 1 && bytes(rest) > budget) {
    const tokens = await count(rest);
    if (tokens <= budget) break;
    rest = dropOldest(rest, (tokens - budget) / tokens);
  }
  return { messages: rest, dropped: messages.length - rest.length };
}

/** Drops about `share` of the text, at least a turn, and the answers that then come first. */
function dropOldest(messages: ChatMessage[], share: number): ChatMessage[] {
  const goal = bytes(messages) * share;
  let gone = 0;
  let first = 0;
  while (first < messages.length - 1) {
    if (gone >= goal && first > 0 && messages[first]?.role === "user") break;
    gone += bytes(messages.slice(first, first + 1));
    first++;
  }
  return messages.slice(first);
}

function bytes(messages: readonly ChatMessage[]): number {
  const encoder = new TextEncoder();
  return messages.reduce(
    (sum, { content }) => sum + encoder.encode(content).length + TEMPLATE_BYTES,
    0,
  );
}
