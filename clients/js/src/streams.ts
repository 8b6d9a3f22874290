/**
 * All answers that this client follows: which frame belongs to which, and what becomes of each when
 * the connection goes and comes back.
 *
 * Invariant: an answer is in the set exactly until its end. Its request is kept until the server
 * gave it a name (`streamId`): until then it may have to be sent again, under its old id.
 */

import { ConnectionLostError, errorFields, lostFields } from "./errors.js";
import { newId } from "./ids.js";
import type { ErrorFields, Frame, ResumedStream } from "./messages.js";
import type { RequestSpec } from "./requests.js";
import { AnswerStream, type StreamPort } from "./stream.js";

export interface StreamsPort {
  /** Returns whether it was handed to a living, ready connection. */
  send(message: Record<string, unknown>): boolean;
  ask(spec: RequestSpec): Promise<Frame>;
  /** An answer appeared that nobody here had asked for. */
  adopted(stream: AnswerStream, roomId: string | undefined): void;
}

interface Outgoing {
  message: Record<string, unknown>;
  sent: boolean;
  repeated: boolean;
}

const GONE: ErrorFields = {
  code: "stream_not_found",
  error: "The server no longer has this answer.",
  retryable: true,
};

export class Streams {
  readonly #port: StreamsPort;
  readonly #watchTimeout: number;
  readonly #streams = new Set<AnswerStream>();
  readonly #outgoing = new Map<AnswerStream, Outgoing>();
  readonly #streamPort: StreamPort = {
    watch: (stream, fromOffset) => this.#watch(stream, fromOffset),
    stop: (stream) => this.#stop(stream),
  };

  constructor(port: StreamsPort, watchTimeout: number) {
    this.#port = port;
    this.#watchTimeout = watchTimeout;
  }

  start(message: Record<string, unknown>, refusal: Error | null): AnswerStream {
    const requestId = newId();
    const stream = new AnswerStream(this.#streamPort, { requestId, streamId: null });
    if (refusal) {
      stream.fail(errorFields(refusal));
      return stream;
    }
    this.#follow(stream);
    const outgoing = { message: { ...message, requestId }, sent: false, repeated: false };
    this.#outgoing.set(stream, outgoing);
    outgoing.sent = this.#port.send(outgoing.message);
    return stream;
  }

  watch(streamId: string, known: string): AnswerStream {
    const followed = this.#byId(streamId);
    if (followed) return followed;
    const stream = new AnswerStream(this.#streamPort, { requestId: null, streamId }, known);
    this.#follow(stream);
    this.#watch(stream, stream.offset);
    return stream;
  }

  unwatch(streamId: string): void {
    const stream = this.#byId(streamId);
    if (stream) this.#forget(stream);
  }

  /** `answered`: the frame already settled a request of its own. */
  receive(frame: Frame, answered: boolean): void {
    // A snapshot is a reply and an event: it is taken here, at once, so that the pieces right
    // behind it find it merged.
    if (answered && frame.type !== "stream_snapshot") return;
    if (frame.type === "error") {
      const stream = this.#find(frame);
      // Refused before it began, by a server that could not read what it was. Later on an error
      // under this id answers a control message and ends nothing.
      if (stream?.state === "pending" && !stream.stopping) {
        stream.fail(frame as unknown as ErrorFields);
      }
    } else if (frame.type.startsWith("stream_") || frame.type === "queue_position") {
      this.#receiveEvent(frame);
    }
  }

  /** Byte offsets by streamId: what `resume` needs. */
  cursors(): Record<string, number> {
    const cursors: Record<string, number> = {};
    for (const stream of this.#streams) {
      stream.forgetAsking();
      if (stream.streamId !== null) cursors[stream.streamId] = stream.offset;
    }
    return cursors;
  }

  receiveResumed(entries: readonly ResumedStream[]): void {
    for (const entry of entries) {
      const stream = this.#find(entry);
      if (!stream) this.#port.adopted(this.watch(entry.streamId, ""), undefined);
      else if (entry.state === "gone") stream.fail(GONE);
      else if (stream.streamId === null) {
        // It began while we were away: its stream_start went to the old connection.
        this.#receiveEvent({ ...entry, type: "stream_start" });
        this.#watch(stream, 0);
      }
    }
  }

  /** The connection is ready again. `same`: the server knows us as the one we were. */
  recover(resumed: boolean, same: boolean): void {
    for (const stream of [...this.#streams]) {
      const outgoing = this.#outgoing.get(stream);
      if (outgoing?.repeated && !same) stream.fail(lostFields(1006));
      else if (!resumed && stream.streamId !== null) this.#watch(stream, stream.offset);
      if (stream.stopping && !outgoing) this.#stop(stream);
    }
    for (const outgoing of this.#outgoing.values()) {
      if (!outgoing.sent) outgoing.sent = this.#port.send(outgoing.message);
    }
  }

  /** `resumable`: another connection will come and may know these answers. */
  lost(closeCode: number, { final, resumable }: { final: boolean; resumable: boolean }): void {
    for (const stream of [...this.#streams]) {
      const outgoing = this.#outgoing.get(stream);
      const unsent = outgoing !== undefined && !outgoing.sent;
      if (final || (!resumable && !unsent)) stream.fail(lostFields(closeCode));
      else if (outgoing) {
        outgoing.repeated ||= outgoing.sent;
        outgoing.sent = false;
      }
    }
  }

  #receiveEvent(frame: Frame): void {
    const stream = this.#find(frame);
    if (stream) {
      stream.receive(frame);
      if (stream.streamId !== null) this.#outgoing.delete(stream);
    } else if (frame.type === "stream_start" || frame.type === "stream_snapshot") {
      const ids = { requestId: frame.requestId ?? null, streamId: frame.streamId as string };
      const adopted = new AnswerStream(this.#streamPort, ids);
      this.#follow(adopted);
      adopted.receive(frame);
      this.#port.adopted(adopted, frame["roomId"] as string | undefined);
    }
  }

  #follow(stream: AnswerStream): void {
    this.#streams.add(stream);
    stream.on("end", () => this.#forget(stream));
  }

  #forget(stream: AnswerStream): void {
    this.#streams.delete(stream);
    this.#outgoing.delete(stream);
  }

  #watch(stream: AnswerStream, fromOffset: number): void {
    const message = { type: "watch_stream", streamId: stream.streamId, fromOffset };
    const replies = ["stream_snapshot"];
    const asked = this.#port.ask({ message, replies, timeout: this.#watchTimeout });
    asked.catch((error: Error) => {
      stream.forgetAsking();
      // After a lost connection `recover` asks again.
      if (!(error instanceof ConnectionLostError)) stream.fail(errorFields(error));
    });
  }

  #stop(stream: AnswerStream): void {
    const outgoing = this.#outgoing.get(stream);
    if (outgoing && !outgoing.sent && !outgoing.repeated) stream.cancel();
    else if (stream.streamId !== null) {
      this.#port.send({ type: "stop_stream", streamId: stream.streamId });
    } else this.#port.send({ type: "stop_stream", requestId: stream.requestId });
  }

  #find({ requestId, streamId }: { requestId?: string; streamId?: string }): AnswerStream | undefined {
    if (requestId !== undefined) {
      for (const stream of this.#streams) if (stream.requestId === requestId) return stream;
    }
    return this.#byId(streamId);
  }

  #byId(streamId: string | undefined): AnswerStream | undefined {
    if (streamId === undefined) return undefined;
    for (const stream of this.#streams) if (stream.streamId === streamId) return stream;
    return undefined;
  }
}
