/** The public face of the package. */

export { Backoff, type BackoffOptions, mayReturn } from "./backoff.js";
export { Client, connect } from "./client.js";
export type { Socket, SocketClass, Status } from "./connection.js";
export { type Merge, TextCursor, utf8Length } from "./cursor.js";
export { ConnectionLostError, isUnknownType, RequestTimeoutError, ServerError } from "./errors.js";
export { newId } from "./ids.js";
export type * from "./messages.js";
export type { ClientEvents, ClientOptions, Credentials, CredentialSource } from "./options.js";
export { type Entrance, Room, type RoomEvents, type RoomRole, type RoomSettings } from "./rooms.js";
export { type OpenSessionInput, Sessions } from "./sessions.js";
export { type AnswerState, AnswerStream } from "./stream.js";
