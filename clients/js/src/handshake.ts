/**
 * The handshake on each new connection: credentials first, then `resume`.
 *
 * This room has the resume token, and decides whether a connection goes on as the client before, as
 * a new one, comes back later, or ends for good. It does not know what hangs on a client, nor how
 * long all of it may take: that is the connection's business.
 */

import type { Message } from "./calls.js";
import { isUnknownType, ServerError } from "./errors.js";
import type { Authenticated, Connected, Frame } from "./messages.js";
import type { ClientOptions } from "./options.js";

/** What the handshake needs of the client, and tells it. Of a stale handshake it tells nothing. */
export interface HandshakePort {
  /** Asks ahead of all that waits for the end of the handshake. */
  ask(message: Message, reply: string): Promise<Frame>;
  /** How much is here of what a resumed connection goes on with. */
  cursors(): Record<string, unknown>;
  authenticated(reply: Authenticated): void;
  /** It is done; `resumed` says that this connection goes on as the client before. */
  ready(connected: Connected, resumed: boolean): void;
  /** It can't be done just now. */
  later(reason: string): void;
  /** It can't be done with these credentials. */
  refused(error: ServerError): void;
}

export class Handshake {
  readonly #port: HandshakePort;
  readonly #credentials: ClientOptions["credentials"];
  #resumeToken: string | null;
  #connected: Connected | null = null;
  /** The greeting whose connection still stands; the replies of any other one never come. */
  #current: Connected | null = null;

  constructor(port: HandshakePort, options: ClientOptions) {
    this.#port = port;
    this.#credentials = options.credentials;
    this.#resumeToken = options.resumeToken ?? null;
  }

  /** The server's greeting on the newest connection, null before the first one. */
  get connected(): Connected | null {
    return this.#connected;
  }

  get resumeToken(): string | null {
    return this.#resumeToken;
  }

  /** Shakes hands on a connection that has been greeted. */
  async begin(connected: Connected): Promise<void> {
    this.#connected = this.#current = connected;
    const isCurrent = () => this.#current === connected;
    try {
      await this.#authenticate(connected);
      const resumed = isCurrent() && (await this.#resume(connected));
      if (isCurrent()) this.#port.ready(connected, resumed);
    } catch (error) {
      if (!isCurrent()) return;
      if (error instanceof ServerError && !error.retryable) this.#port.refused(error);
      // Also where the credentials could not be had: whoever issues them may be away as well.
      else this.#port.later(error instanceof Error ? error.message : String(error));
    }
  }

  /** The connection is gone: what goes on of its handshake has no effect any more. */
  lost(): void {
    this.#current = null;
  }

  /** The server has said who this connection is now; other frames may follow at once. */
  receiveResumed(clientId: string, resumeToken: string): void {
    this.#resumeToken = resumeToken;
    if (this.#connected) this.#connected.clientId = clientId;
  }

  async #authenticate(connected: Connected): Promise<void> {
    const source = this.#credentials;
    const proof = typeof source === "function" ? await source(connected) : source;
    if (this.#current !== connected) return;
    if (!proof) {
      if (!connected.authRequired) return;
      const error = "This server asks for a key.";
      throw new ServerError({ code: "unauthorized", error, retryable: false });
    }
    try {
      const reply = await this.#port.ask({ ...proof, type: "authenticate" }, "authenticated");
      this.#port.authenticated(reply as unknown as Authenticated);
    } catch (error) {
      // A server that needs no proof may not know how to take a name either.
      if (connected.authRequired || !isUnknownType(error)) throw error;
    }
  }

  /** Returns whether this connection goes on as the client before. */
  async #resume(connected: Connected): Promise<boolean> {
    const resumeToken = this.#resumeToken;
    this.#resumeToken = connected.resumeToken;
    if (!resumeToken || connected.capabilities.resume === false) return false;
    try {
      await this.#port.ask({ ...this.#port.cursors(), type: "resume", resumeToken }, "resumed");
      return true;
    } catch (error) {
      if (error instanceof ServerError && !error.retryable) return false;
      // No answer may mean that it was taken, and a store that is away for a moment that the old
      // one is still good: keep the token for the next try.
      this.#resumeToken = resumeToken;
      throw error;
    }
  }
}
