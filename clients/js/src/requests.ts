/**
 * Which answer belongs to which question.
 *
 * Every request settles exactly once: by its terminal message, by an `error`, by its timeout or by
 * the end of the connection. Its entry is gone then, so nothing leaks and a late answer is dropped.
 */

import { ConnectionLostError, RequestTimeoutError, ServerError } from "./errors.js";
import type { ErrorFields, Frame } from "./messages.js";

export interface RequestSpec {
  /** The message to send, `type` included. */
  message: { type: string; [field: string]: unknown };
  /** The types that end it well. */
  replies: readonly string[];
  /** The types that end it badly, besides `error`. */
  failures?: readonly string[];
  /** Other messages of this request, before its end. */
  onEvent?: ((frame: Frame) => void) | undefined;
  /** Milliseconds; 0 = as long as it takes. */
  timeout: number;
  /** The server runs it once however often it is sent under one requestId. */
  repeatable?: boolean;
}

interface Pending extends RequestSpec {
  requestId: string;
  resolve(frame: Frame): void;
  reject(error: Error): void;
  timer: ReturnType<typeof setTimeout> | undefined;
  sent: boolean;
  /** It went out on an earlier connection already. */
  repeated: boolean;
}

export class Requests {
  readonly #pending = new Map<string, Pending>();

  get size(): number {
    return this.#pending.size;
  }

  /** Registers a request; `flush` sends it. */
  add(requestId: string, spec: RequestSpec): Promise<Frame> {
    return new Promise((resolve, reject) => {
      const fresh = { timer: undefined, sent: false, repeated: false };
      const pending: Pending = { ...spec, ...fresh, requestId, resolve, reject };
      if (spec.timeout > 0) {
        pending.timer = setTimeout(() => {
          this.#pending.delete(requestId);
          reject(new RequestTimeoutError(spec.message.type, spec.timeout));
        }, spec.timeout);
      }
      this.#pending.set(requestId, pending);
    });
  }

  /** Sends what was not sent on this connection yet: all of it, or one request ahead of the rest. */
  flush(send: (message: Record<string, unknown>) => boolean, requestId?: string): void {
    for (const pending of this.#pending.values()) {
      if (pending.sent || (requestId !== undefined && pending.requestId !== requestId)) continue;
      pending.sent = send({ ...pending.message, requestId: pending.requestId });
    }
  }

  /** Returns whether the frame belonged to a request. */
  receive(frame: Frame): boolean {
    const pending = frame.requestId === undefined ? undefined : this.#pending.get(frame.requestId);
    if (!pending) return false;
    if (pending.replies.includes(frame.type)) {
      this.#remove(pending);
      pending.resolve(frame);
    } else if (frame.type === "error" || pending.failures?.includes(frame.type)) {
      this.#remove(pending);
      pending.reject(new ServerError(frame as unknown as ErrorFields));
    } else pending.onEvent?.(frame);
    return true;
  }

  /**
   * The connection is gone. What was sent is lost, unless it may be sent again under its id;
   * what was not sent yet waits on, unless no other connection will come.
   */
  lost(closeCode: number, keep: { repeatable: boolean; unsent: boolean }): void {
    for (const pending of [...this.#pending.values()]) {
      const waits = pending.sent ? keep.repeatable && pending.repeatable === true : keep.unsent;
      if (waits) {
        pending.repeated ||= pending.sent;
        pending.sent = false;
      } else {
        this.#remove(pending);
        pending.reject(new ConnectionLostError(closeCode));
      }
    }
  }

  /** To the server we are somebody else now: what went out before would be run a second time. */
  dropRepeated(closeCode: number): void {
    for (const pending of [...this.#pending.values()]) {
      if (!pending.repeated) continue;
      this.#remove(pending);
      pending.reject(new ConnectionLostError(closeCode));
    }
  }

  #remove(pending: Pending): void {
    clearTimeout(pending.timer);
    this.#pending.delete(pending.requestId);
  }
}
