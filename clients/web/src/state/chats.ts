/**
 * Where conversations are kept: by the server if it keeps sessions, else in this browser.
 *
 * Both keep the same promise to the page: a list, the turns of one chat, and the request that asks
 * the next question in it. The server's answer to `list_sessions` decides which one it is.
 */

import { type Client, type HistoryMessage, isUnknownType, newId, type StreamInput } from "@wsserver/client";
import type { Outcome, StoredTurn } from "@wsserver/shared/state/answer.js";
import type { BrowserStorage } from "@wsserver/shared/state/storage.js";

export interface ChatSummary {
  id: string;
  title: string;
  updatedAt: number;
}

export interface ChatBackend {
  readonly kind: "server" | "browser";
  /** The newest chats, or of all chats those that have `query` in their title or messages. */
  list(query?: string): Promise<ChatSummary[]>;
  load(id: string): Promise<StoredTurn[]>;
  create(input: { title: string; systemPrompt: string }): Promise<string>;
  rename(id: string, title: string): Promise<void>;
  remove(id: string): Promise<void>;
  /** The present turns; the server knows them already. */
  save(id: string, turns: readonly StoredTurn[]): void;
  /** The question `turns` end with, as the request that asks it. */
  ask(id: string, turns: readonly StoredTurn[]): StreamInput;
  /** Writes turns down again under an id that the server has forgotten. */
  restore(id: string, turns: readonly StoredTurn[]): Promise<void>;
  /** Another answer to the question that `turns` end with; `answerId` is the present one. */
  regenerate(id: string, turns: readonly StoredTurn[], answerId: string): StreamInput;
}

const KEPT_CHATS = 50;
const HISTORY_PAGE = 200;
const TITLE_LENGTH = 60;

/** Asks the server whether it keeps sessions. */
export async function chooseBackend(client: Client, storage: BrowserStorage): Promise<ChatBackend> {
  const fallback = new BrowserChats(storage);
  if (client.connected?.capabilities.sessions === false) return fallback;
  try {
    await client.sessions.list({ limit: 1 });
    return new ServerChats(client);
  } catch (error) {
    if (isUnknownType(error)) return fallback;
    throw error;
  }
}

export class ServerChats implements ChatBackend {
  readonly kind = "server";
  readonly #client: Client;

  constructor(client: Client) {
    this.#client = client;
  }

  async list(query = ""): Promise<ChatSummary[]> {
    const search = query === "" ? {} : { query };
    const { sessions } = await this.#client.sessions.list({ limit: KEPT_CHATS, ...search });
    return sessions.map(({ sessionId, title, updatedAt }) => ({
      id: sessionId,
      title: title ?? "New chat",
      updatedAt,
    }));
  }

  async load(id: string): Promise<StoredTurn[]> {
    const { messages } = await this.#client.sessions.history(id, { limit: HISTORY_PAGE });
    return messages.filter(({ role }) => role === "user" || role === "assistant").map(toTurn);
  }

  async create({ title, systemPrompt }: { title: string; systemPrompt: string }): Promise<string> {
    const more = systemPrompt ? { systemPrompt } : {};
    return (await this.#client.sessions.open({ title, ...more })).sessionId;
  }

  async rename(id: string, title: string): Promise<void> {
    await this.#client.sessions.update(id, { title });
  }

  async remove(id: string): Promise<void> {
    await this.#client.sessions.delete(id);
  }

  save(): void {
    // The server wrote each turn down as it came.
  }

  ask(id: string, turns: readonly StoredTurn[]): StreamInput {
    const question = turns.at(-1);
    const input: StreamInput = { sessionId: id, prompt: question?.text ?? "" };
    if (question?.parentId) input.parentId = question.parentId;
    return input;
  }

  async restore(id: string, turns: readonly StoredTurn[]): Promise<void> {
    const messages = turns
      .filter(({ text }) => text !== "")
      .map((turn, index, all) => ({
        messageId: turn.id,
        parentId: all[index - 1]?.id ?? null,
        role: turn.role,
        content: turn.text,
      }));
    await this.#client.sessions.import({ sessionId: id, data: { title: titleOf(turns), messages } });
  }

  regenerate(id: string, _turns: readonly StoredTurn[], answerId: string): StreamInput {
    return { sessionId: id, regenerate: answerId };
  }
}

export class BrowserChats implements ChatBackend {
  readonly kind = "browser";
  readonly #storage: BrowserStorage;

  constructor(storage: BrowserStorage) {
    this.#storage = storage;
  }

  async list(query = ""): Promise<ChatSummary[]> {
    const wanted = query.toLowerCase();
    const has = (text: string) => text.toLowerCase().includes(wanted);
    return this.#index().filter(({ id, title }) => has(title) || this.#turns(id).some(({ text }) => has(text)));
  }

  async load(id: string): Promise<StoredTurn[]> {
    return this.#turns(id);
  }

  async create({ title }: { title: string; systemPrompt: string }): Promise<string> {
    const id = newId();
    this.#write([{ id, title, updatedAt: Date.now() }, ...this.#index()]);
    return id;
  }

  async rename(id: string, title: string): Promise<void> {
    this.#write(this.#index().map((chat) => (chat.id === id ? { ...chat, title } : chat)));
  }

  async remove(id: string): Promise<void> {
    this.#write(this.#index().filter((chat) => chat.id !== id));
  }

  save(id: string, turns: readonly StoredTurn[]): void {
    const index = this.#index();
    const known = index.find((chat) => chat.id === id);
    if (!known) return;
    const others = index.filter((chat) => chat !== known);
    this.#write([{ ...known, updatedAt: Date.now() }, ...others]);
    // A full storage forgets the oldest chats first.
    while (!this.#storage.set(`chat.${id}`, turns) && this.#dropOldest(id));
  }

  ask(_id: string, turns: readonly StoredTurn[]): StreamInput {
    return {
      messages: turns
        .filter(({ text }) => text !== "")
        .map(({ role, text }) => ({ role, content: text })),
    };
  }

  async restore(): Promise<void> {
    // Nothing here depends on what the server remembers.
  }

  regenerate(id: string, turns: readonly StoredTurn[]): StreamInput {
    return this.ask(id, turns);
  }

  #turns(id: string): StoredTurn[] {
    return this.#storage.get<StoredTurn[]>(`chat.${id}`) ?? [];
  }

  #index(): ChatSummary[] {
    return this.#storage.get<ChatSummary[]>("chats") ?? [];
  }

  #write(chats: ChatSummary[]): void {
    const kept = chats.slice(0, KEPT_CHATS);
    const ids = new Set(kept.map(({ id }) => id));
    for (const { id } of [...this.#index(), ...chats]) {
      if (!ids.has(id)) this.#storage.remove(`chat.${id}`);
    }
    this.#storage.set("chats", kept);
  }

  #dropOldest(except: string): boolean {
    const oldest = this.#index().findLast(({ id }) => id !== except);
    if (!oldest) return false;
    this.#write(this.#index().filter((chat) => chat !== oldest && chat.id !== oldest.id));
    return true;
  }
}

/** A chat is called by its first question. */
export function titleOf(turns: readonly { role: string; text: string }[]): string {
  const first = turns.find(({ role }) => role === "user")?.text ?? "";
  const title = first.trim().replace(/\s+/g, " ");
  if (title === "") return "New chat";
  return title.length > TITLE_LENGTH ? `${title.slice(0, TITLE_LENGTH - 1)}…` : title;
}

function toTurn(message: HistoryMessage): StoredTurn {
  const { messageId, role, content, parentId } = message;
  const turn: StoredTurn = { id: messageId, role: role as "user" | "assistant", text: content, parentId };
  if (role === "assistant") turn.outcome = fromFinishReason(message.finishReason);
  if (message.streamId) turn.streamId = message.streamId;
  if (message.model) turn.model = message.model;
  if (message.tokens) {
    turn.figures = { tokens: message.tokens, tokensPerSecond: null, timeToFirstToken: null };
  }
  return turn;
}

function fromFinishReason(reason: HistoryMessage["finishReason"]): Outcome {
  if (reason === "length" || reason === "timeout" || reason === "stopped") return { kind: reason };
  if (reason !== "error") return { kind: "complete" };
  const message = "This answer broke off.";
  return { kind: "error", code: "generation_failed", message, retryable: true };
}
