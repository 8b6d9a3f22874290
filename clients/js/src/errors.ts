/** What can go wrong, told apart so that a caller can decide what to do next. */

import type { ErrorFields, FieldError } from "./messages.js";

/** The server refused or failed a request; `code` is one of the protocol's error codes. */
export class ServerError extends Error {
  override readonly name = "ServerError";
  readonly code: string;
  readonly retryable: boolean;
  readonly details: readonly FieldError[];
  /** Milliseconds to wait before trying again, if the server said so. */
  readonly retryAfter: number | undefined;

  constructor(fields: ErrorFields) {
    super(fields.error);
    this.code = fields.code;
    this.retryable = fields.retryable;
    this.details = fields.details ?? [];
    this.retryAfter = fields.retryAfter;
  }
}

/** The connection ended before the answer came; whether the request had any effect is unknown. */
export class ConnectionLostError extends Error {
  override readonly name = "ConnectionLostError";
  /** The WebSocket close code, 1006 where the browser saw none. */
  readonly closeCode: number;

  constructor(closeCode: number, message = "The connection was lost before the server answered.") {
    super(message);
    this.closeCode = closeCode;
  }
}

/** The answer did not come in time; a late one is dropped. */
export class RequestTimeoutError extends Error {
  override readonly name = "RequestTimeoutError";

  constructor(type: string, milliseconds: number) {
    super(`No answer to ${type} within ${milliseconds / 1000} s.`);
  }
}

export function isUnknownType(error: unknown): boolean {
  return error instanceof ServerError && error.code === "unknown_type";
}

/** What a lost connection looks like as the end of a stream. */
export function lostFields(closeCode: number): ErrorFields {
  const error = `The connection was lost (${closeCode}) before the answer was complete.`;
  return { code: "connection_lost", error, retryable: true };
}

/** Any error of this package as the fields of a protocol error. */
export function errorFields(error: Error): ErrorFields {
  if (error instanceof ServerError) {
    const { code, message, retryable, details, retryAfter } = error;
    const fields: ErrorFields = { code, error: message, retryable, details: [...details] };
    if (retryAfter !== undefined) fields.retryAfter = retryAfter;
    return fields;
  }
  if (error instanceof ConnectionLostError) return lostFields(error.closeCode);
  return { code: "timeout", error: error.message, retryable: true };
}
