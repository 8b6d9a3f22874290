/** Conversations that the server keeps. A server without them answers `unknown_type`. */

import type { Frame, History, Session } from "./messages.js";

export type Ask = (
  message: { type: string; [field: string]: unknown },
  reply: string,
  repeatable?: boolean,
) => Promise<Frame>;

export interface OpenSessionInput {
  sessionId?: string;
  title?: string;
  systemPrompt?: string;
  model?: string;
  metadata?: Record<string, unknown>;
}

export class Sessions {
  readonly #ask: Ask;

  constructor(ask: Ask) {
    this.#ask = ask;
  }

  /** Opens a session; an unknown id, or none, creates it. */
  async open(input: OpenSessionInput = {}): Promise<Session> {
    const reply = await this.#ask({ ...input, type: "open_session" }, "session_opened", true);
    return reply["session"] as Session;
  }

  async list(
    input: { cursor?: string; limit?: number; query?: string } = {},
  ): Promise<{ sessions: Session[]; nextCursor?: string }> {
    const reply = await this.#ask({ ...input, type: "list_sessions" }, "sessions_list");
    const sessions = reply["sessions"] as Session[];
    const nextCursor = reply["nextCursor"] as string | null | undefined;
    return nextCursor ? { sessions, nextCursor } : { sessions };
  }

  /** A page of the history, oldest first: the newest, or the one before message `before`. */
  async history(
    sessionId: string,
    input: { before?: string; limit?: number; branch?: string } = {},
  ): Promise<History> {
    const message = { ...input, sessionId, type: "get_history" };
    return (await this.#ask(message, "history")) as unknown as History;
  }

  async update(
    sessionId: string,
    changes: { title?: string; systemPrompt?: string; model?: string; metadata?: object },
  ): Promise<Session> {
    const message = { ...changes, sessionId, type: "update_session" };
    return (await this.#ask(message, "session_updated"))["session"] as Session;
  }

  async clear(sessionId: string): Promise<void> {
    await this.#ask({ sessionId, type: "clear_history" }, "history_cleared");
  }

  /** Copies the branch that ends at `messageId` into a session of its own. */
  async fork(sessionId: string, messageId: string): Promise<Session> {
    const message = { sessionId, messageId, type: "fork_session" };
    return (await this.#ask(message, "session_opened", true))["session"] as Session;
  }

  async delete(sessionId: string): Promise<void> {
    await this.#ask({ sessionId, type: "delete_session" }, "session_deleted");
  }

  /** The raw `session_export` message: its fields depend on the format. */
  async export(sessionId: string, format: "json" | "markdown" = "json"): Promise<Frame> {
    return this.#ask({ sessionId, format, type: "export_session" }, "session_export");
  }

  async import(input: Record<string, unknown>): Promise<Session> {
    const message = { ...input, type: "import_session" };
    return (await this.#ask(message, "session_imported", true))["session"] as Session;
  }
}
