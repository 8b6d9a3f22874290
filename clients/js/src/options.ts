/** What a client is made with, and what it tells of itself. Pure declarations. */

import type { ConnectionOptions, Status } from "./connection.js";
import type { Authenticated, Connected, Draining, Frame } from "./messages.js";
import type { AnswerStream } from "./stream.js";

export interface Credentials {
  apiKey?: string;
  token?: string;
  /** Who this is, where the server asks for no proof. */
  userId?: string;
  name?: string;
}

export type CredentialSource =
  | Credentials
  | ((connected: Connected) => Credentials | null | Promise<Credentials | null>);

export interface ClientOptions extends ConnectionOptions {
  /** Sent on every new connection; a function is asked each time, so a token can be renewed. */
  credentials?: CredentialSource;
  /** The `resumeToken` of an earlier client, to go on as that one. */
  resumeToken?: string;
  /** Milliseconds that a simple request may take. */
  requestTimeout?: number;
  /** Milliseconds that `generate` and `batch` may take. */
  generateTimeout?: number;
}

export interface ClientEvents {
  status: Status;
  /** A new connection is ready; `resumed` says that it goes on as the client before. */
  ready: { connected: Connected; resumed: boolean };
  authenticated: Authenticated;
  draining: Draining;
  /** An answer came with `resume` that nobody here had asked for. */
  stream: AnswerStream;
  /** Any frame, as it came. */
  frame: Frame;
}
