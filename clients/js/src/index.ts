/** The public face of the package. */

export { Backoff, type BackoffOptions, mayReturn } from "./backoff.js";
export {
  Client,
  type ClientEvents,
  type ClientOptions,
  connect,
  type Credentials,
  type CredentialSource,
} from "./client.js";
export type { Socket, SocketClass, Status } from "./connection.js";
export { type Merge, TextCursor, utf8Length } from "./cursor.js";
export { ConnectionLostError, isUnknownType, RequestTimeoutError, ServerError } from "./errors.js";
export { newId } from "./ids.js";
export type * from "./messages.js";
export { Room, type RoomEvents } from "./rooms.js";
export { type OpenSessionInput, Sessions } from "./sessions.js";
export { type AnswerState, AnswerStream } from "./stream.js";
