/**
 * One answer as it arrives: its text, its state and how it ended.
 *
 * This room knows the merge rule and what each stream event means; it knows neither sockets nor
 * reconnection. Where text is missing it asks for it through its port. Every reader holds an index
 * into the text instead of a queue, so a slow one gets longer pieces and none costs memory.
 */

import { TextCursor } from "./cursor.js";
import { Emitter, type Unsubscribe } from "./emitter.js";
import { ServerError } from "./errors.js";
import type {
  Frame,
  QueuePosition,
  StreamEnd,
  StreamErrorEvent,
  StreamEvent,
  StreamProgress,
  StreamSnapshot,
  StreamStart,
  StreamToken,
} from "./messages.js";

/** `pending`: not yet accepted. `queued` and `loading`: accepted, no text yet. */
export type AnswerState = "pending" | "queued" | "loading" | "running" | "ended";

export interface StreamPort {
  /** Asks for the text of `streamId` from byte `fromOffset` on. */
  watch(stream: AnswerStream, fromOffset: number): void;
  stop(stream: AnswerStream): void;
}

interface AnswerEvents {
  /** Something changed: text, state, queue position, progress. */
  change: StreamEvent | Frame;
  text: string;
  end: StreamEnd;
}

const TERMINAL = new Set(["stream_complete", "stream_stopped", "stream_error"]);

export class AnswerStream implements AsyncIterable<string> {
  /** Null for a watched answer that somebody else asked for. */
  readonly requestId: string | null;
  /** Settles with the terminal event, also with `stream_error`; it never rejects. */
  readonly done: Promise<StreamEnd>;
  readonly #port: StreamPort;
  readonly #cursor: TextCursor;
  readonly #events = new Emitter<AnswerEvents>();
  #resolve!: (end: StreamEnd) => void;
  #streamId: string | null;
  #state: AnswerState = "pending";
  #start: StreamStart | null = null;
  #messageId: string | null = null;
  #model: string | null = null;
  #queuePosition: number | null = null;
  #progress: StreamProgress | null = null;
  #tokens = 0;
  #stopping = false;
  #end: StreamEnd | null = null;
  /** A terminal event that came before the text it ends. */
  #early: StreamEnd | null = null;
  #asking = false;

  constructor(
    port: StreamPort,
    ids: { requestId: string | null; streamId: string | null },
    known = "",
  ) {
    this.#port = port;
    this.#cursor = new TextCursor(known);
    this.requestId = ids.requestId;
    this.#streamId = ids.streamId;
    this.done = new Promise((resolve) => {
      this.#resolve = resolve;
    });
  }

  /** The server's name for this answer, null until it accepted the request. */
  get streamId(): string | null {
    return this.#streamId;
  }

  /** The answer so far. */
  get text(): string {
    return this.#cursor.text;
  }

  /** Length of the answer so far in UTF-8 bytes. */
  get offset(): number {
    return this.#cursor.bytes;
  }

  get state(): AnswerState {
    return this.#state;
  }

  /** The `stream_start`, with the model and the session's message ids; null until it came. */
  get start(): StreamStart | null {
    return this.#start;
  }

  /** The answer's id in its session's history, if it has one. */
  get messageId(): string | null {
    return this.#messageId;
  }

  /** Which model answers, as soon as the server said so. */
  get model(): string | null {
    return this.#model;
  }

  /** Place in line from 1, null when it does not wait. */
  get queuePosition(): number | null {
    return this.#queuePosition;
  }

  get progress(): StreamProgress | null {
    return this.#progress;
  }

  /** Tokens received so far, as the server counts them. */
  get tokens(): number {
    return this.#tokens;
  }

  /** A stop was asked for and the answer has not ended yet. */
  get stopping(): boolean {
    return this.#stopping && this.#end === null;
  }

  /** The terminal event, null until then. */
  get end(): StreamEnd | null {
    return this.#end;
  }

  /** Asks the server to end the work; `done` settles when it did. Safe to call at any time. */
  stop(): void {
    if (this.#stopping || this.#end) return;
    this.#stopping = true;
    this.#port.stop(this);
    this.#changed({ type: "stopping" });
  }

  on<Name extends keyof AnswerEvents>(
    name: Name,
    listener: (event: AnswerEvents[Name]) => void,
  ): Unsubscribe {
    return this.#events.on(name, listener);
  }

  /**
   * The text in pieces from its beginning, for any number of readers. Ends with the answer; throws
   * `ServerError` if that failed. After a `stream_rewind` (only a failover sends one) pieces go on
   * from where the text was cut: who must be exact then reads `text`.
   */
  async *[Symbol.asyncIterator](): AsyncGenerator<string, void, void> {
    let index = 0;
    for (;;) {
      const text = this.#cursor.text;
      index = Math.min(index, text.length);
      if (index < text.length) {
        const piece = text.slice(index);
        index = text.length;
        yield piece;
      } else if (this.#end) {
        if (this.#end.type === "stream_error") throw new ServerError(this.#end);
        return;
      } else await this.#change();
    }
  }

  /** Takes an event of the server that belongs to this answer. */
  receive(frame: Frame): void {
    if (this.#end) return;
    if (TERMINAL.has(frame.type)) {
      this.#receiveEnd(frame as unknown as StreamEnd);
      return;
    }
    switch (frame.type) {
      case "stream_start":
        this.#receiveStart(frame as unknown as StreamStart);
        break;
      case "stream_token":
        this.#receivePiece(frame as unknown as StreamToken);
        break;
      case "stream_snapshot":
        this.#receiveSnapshot(frame as unknown as StreamSnapshot);
        break;
      case "stream_rewind":
        this.#cursor.rewind(frame["offset"] as number);
        break;
      case "stream_progress":
        this.#progress = frame as unknown as StreamProgress;
        break;
      case "queue_position":
        this.#queuePosition = (frame as unknown as QueuePosition).position || null;
        break;
    }
    this.#changed(frame);
  }

  /** Ends it from this side: refused, or lost for good. */
  fail(error: Omit<StreamErrorEvent, "type">): void {
    if (this.#end) return;
    this.#finish(this.#early ?? this.#errorEvent(error));
  }

  /** Ends it as stopped, where it never reached the server. */
  cancel(): void {
    this.#finish({
      type: "stream_stopped",
      streamId: this.#streamId ?? "",
      totalTokens: 0,
      offset: this.#cursor.bytes,
      reason: "client",
      stoppedBy: "client",
    });
  }

  /** The question for missing text failed or a new connection asks anew. */
  forgetAsking(): void {
    this.#asking = false;
  }

  #receiveStart(start: StreamStart): void {
    this.#receiveIdentity(start);
    this.#start = start;
    this.#queuePosition = start.queuePosition || null;
    if (this.#state === "pending") this.#state = "queued";
  }

  #receiveIdentity({ streamId, messageId, model }: StreamStart | StreamSnapshot): void {
    this.#streamId = streamId;
    this.#messageId = messageId ?? this.#messageId;
    this.#model = model ?? this.#model;
  }

  #receivePiece(piece: StreamToken): void {
    this.#state = "running";
    this.#queuePosition = null;
    this.#tokens = Math.max(this.#tokens, piece.position);
    this.#merge(piece.token, piece.offset);
  }

  #receiveSnapshot(snapshot: StreamSnapshot): void {
    this.#asking = false;
    this.#receiveIdentity(snapshot);
    if (snapshot.state === "queued" || snapshot.state === "loading") this.#state = snapshot.state;
    else if (snapshot.state === "running") this.#state = "running";
    this.#queuePosition = snapshot.queuePosition || null;
    this.#tokens = Math.max(this.#tokens, snapshot.position);
    this.#merge(snapshot.text, snapshot.offset);
  }

  #merge(text: string, offset: number): void {
    const merge = this.#cursor.merge(text, offset);
    if (merge.kind === "append") this.#events.emit("text", merge.text);
    if (merge.kind === "gap") this.#ask();
    if (this.#early && this.#complete(this.#early)) this.#finish(this.#early);
  }

  #receiveEnd(end: StreamEnd): void {
    if (this.#complete(end)) this.#finish(end);
    else {
      this.#early = end;
      this.#ask();
    }
  }

  #complete(end: StreamEnd): boolean {
    return end.offset === undefined || this.#streamId === null || this.#cursor.bytes >= end.offset;
  }

  #ask(): void {
    if (this.#asking) return;
    this.#asking = true;
    this.#port.watch(this, this.#cursor.bytes);
  }

  #finish(end: StreamEnd): void {
    if (this.#end) return;
    if (end.offset !== undefined) this.#cursor.rewind(end.offset);
    if (end.type !== "stream_error" && end.totalTokens > 0) this.#tokens = end.totalTokens;
    this.#state = "ended";
    this.#queuePosition = null;
    this.#end = end;
    this.#changed(end);
    this.#events.emit("end", end);
    this.#resolve(end);
  }

  #errorEvent(error: Omit<StreamErrorEvent, "type">): StreamErrorEvent {
    const event: StreamErrorEvent = { ...error, type: "stream_error", offset: this.#cursor.bytes };
    if (this.#streamId !== null) event.streamId = this.#streamId;
    return event;
  }

  #changed(event: StreamEvent | Frame): void {
    this.#events.emit("change", event);
  }

  #change(): Promise<void> {
    return new Promise((resolve) => {
      const off = this.#events.on("change", () => {
        off();
        resolve();
      });
    });
  }
}
