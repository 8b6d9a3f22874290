/**
 * The client: one object with everything that can be asked, over connections that come and go.
 *
 * This room shakes hands on each new connection (credentials, then `resume`) and hands every frame
 * to whom it belongs. When a socket is opened is the connection's business, what becomes of an
 * answer after a drop that of `Streams`, and what a piece of text means the stream's.
 */

import { Connection, type ConnectionOptions, type Status } from "./connection.js";
import { Emitter, type Unsubscribe } from "./emitter.js";
import { ConnectionLostError, isUnknownType, ServerError } from "./errors.js";
import { newId } from "./ids.js";
import type {
  Authenticated,
  BatchItem,
  BatchSummary,
  ChatMessage,
  Connected,
  Draining,
  Frame,
  GenerationInput,
  GenerationOptions,
  GenerationResult,
  LoadedModel,
  LoadModelInput,
  ModelEntry,
  ModelLoadProgress,
  Resumed,
  RoomEntry,
  RoomJoined,
  StreamInput,
} from "./messages.js";
import { Requests, type RequestSpec } from "./requests.js";
import { type Room, type RoomPort, Rooms } from "./rooms.js";
import { Sessions } from "./sessions.js";
import type { AnswerStream } from "./stream.js";
import { Streams } from "./streams.js";

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

type Message = RequestSpec["message"];

const DEFAULT_HEARTBEAT = 20_000;
const HANDSHAKE_TIMEOUT = 10_000;
/** A requestId and the field around it, at most. */
const ENVELOPE_BYTES = 100;

export class Client {
  readonly sessions: Sessions;
  readonly #options: ClientOptions;
  readonly #requestTimeout: number;
  readonly #generateTimeout: number;
  readonly #connection: Connection;
  readonly #events = new Emitter<ClientEvents>();
  readonly #requests = new Requests();
  readonly #streams: Streams;
  readonly #rooms: Rooms;
  #isReady = false;
  #connected: Connected | null = null;
  #resumeToken: string | null;
  #refused: ServerError | null = null;

  constructor(url: string, options: ClientOptions = {}) {
    this.#options = options;
    this.#requestTimeout = options.requestTimeout ?? 30_000;
    this.#generateTimeout = options.generateTimeout ?? 600_000;
    this.#resumeToken = options.resumeToken ?? null;
    this.#rooms = new Rooms(this.#roomPort());
    this.#streams = new Streams(
      {
        send: (message) => this.#isReady && this.#send(message),
        ask: (spec) => this.#ask(spec),
        adopted: (stream, roomId) => this.#adopted(stream, roomId),
      },
      this.#requestTimeout,
    );
    this.sessions = new Sessions((message, reply, repeatable = false) =>
      this.#ask({ message, replies: [reply], timeout: this.#requestTimeout, repeatable }),
    );
    const events = {
      frame: (data: string) => this.#receive(JSON.parse(data) as Frame),
      down: (code: number, final: boolean) => this.#down(code, final),
      status: (status: Status) => this.#events.emit("status", status),
      ping: () => void this.#send({ type: "ping" }),
    };
    this.#connection = new Connection(url, events, options);
    this.#connection.open();
  }

  get status(): Status {
    return this.#connection.status;
  }

  /** The server's greeting on this connection, null before the first one. */
  get connected(): Connected | null {
    return this.#connected;
  }

  get resumeToken(): string | null {
    return this.#resumeToken;
  }

  /** Why the server let us not in, if it did not. */
  get refused(): ServerError | null {
    return this.#refused;
  }

  on<Name extends keyof ClientEvents>(
    name: Name,
    listener: (event: ClientEvents[Name]) => void,
  ): Unsubscribe {
    return this.#events.on(name, listener);
  }

  /** Settles when requests go out; rejects if the connection is closed for good before. */
  ready(): Promise<void> {
    if (this.#isReady) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const settle = (finish: () => void) => {
        offReady();
        offStatus();
        finish();
      };
      const offReady = this.on("ready", () => settle(resolve));
      const offStatus = this.on("status", (status) => {
        if (status.state !== "closed") return;
        settle(() => reject(this.#refused ?? new ConnectionLostError(status.code, status.reason)));
      });
    });
  }

  /** Comes back now instead of waiting on, or after a close for good. */
  reconnectNow(): void {
    this.#connection.open();
  }

  /** Ends the connection; nothing reconnects, and what is still pending is rejected. */
  close(): void {
    this.#connection.close();
  }

  /** Asks for an answer and follows it as it is made. Waits for a connection if there is none. */
  stream(input: StreamInput): AnswerStream {
    return this.#start({ ...input, type: "stream" });
  }

  /** Goes on from where an answer was stopped, failed or ended by length. */
  continue(input: {
    streamId?: string;
    sessionId?: string;
    options?: GenerationOptions;
  }): AnswerStream {
    return this.#start({ ...input, type: "continue" });
  }

  /**
   * Follows an answer that was asked for elsewhere: another tab or member, before a reload. Of what
   * is `known` already, its beginning, nothing is sent again. The same object as long as it runs.
   */
  watchStream(streamId: string, known = ""): AnswerStream {
    return this.#streams.watch(streamId, known);
  }

  async unwatchStream(streamId: string): Promise<void> {
    this.#streams.unwatch(streamId);
    await this.request({ type: "unwatch_stream", streamId }, "stream_unwatched");
  }

  /** A whole answer at once. Aborting `signal` stops it: it then resolves with the text so far. */
  async generate(
    input: GenerationInput,
    { timeout = this.#generateTimeout, signal }: { timeout?: number; signal?: AbortSignal } = {},
  ): Promise<GenerationResult> {
    signal?.throwIfAborted();
    const requestId = newId();
    const stop = () => this.#send({ type: "stop_stream", requestId });
    signal?.addEventListener("abort", stop, { once: true });
    const message = { ...input, type: "generate" };
    const ends = { replies: ["generation_complete"], failures: ["generation_error"] };
    try {
      const frame = await this.#ask({ message, ...ends, timeout, repeatable: true }, requestId);
      return frame["result"] as GenerationResult;
    } finally {
      signal?.removeEventListener("abort", stop);
    }
  }

  /** Answers to many prompts, in their order; `onItem` sees each as it ends. */
  async batch(
    input: { prompts: string[]; model?: string; options?: GenerationOptions },
    {
      onItem,
      timeout = this.#generateTimeout,
    }: { onItem?: (item: BatchItem) => void; timeout?: number } = {},
  ): Promise<{ items: BatchItem[]; summary: BatchSummary }> {
    const items: BatchItem[] = [];
    const onEvent = (frame: Frame) => {
      const item = frame as unknown as BatchItem;
      // After a repeat the items come again from the first on.
      if (frame.type !== "batch_item" || items[item.index]) return;
      items[item.index] = item;
      onItem?.(item);
    };
    const message = { ...input, type: "batch" };
    const ends = { replies: ["batch_complete"], failures: ["batch_error"] };
    const frame = await this.#ask({ message, ...ends, timeout, repeatable: true, onEvent });
    return { items, summary: frame["summary"] as BatchSummary };
  }

  async models(): Promise<ModelEntry[]> {
    return (await this.request({ type: "models" }, "models_list"))["models"] as ModelEntry[];
  }

  /** Loads a model; no timeout unless given, since a big one takes minutes. */
  async loadModel(
    input: LoadModelInput,
    {
      onProgress,
      timeout = 0,
    }: { onProgress?: (event: ModelLoadProgress) => void; timeout?: number } = {},
  ): Promise<LoadedModel> {
    const onEvent = (frame: Frame) => onProgress?.(frame as unknown as ModelLoadProgress);
    const message = { ...input, type: "load_model" };
    const ends = { replies: ["model_loaded"], failures: ["model_load_error"] };
    const frame = await this.#ask({ message, ...ends, timeout, onEvent });
    return frame["model"] as LoadedModel;
  }

  async unloadModel(id: string, { force = false, timeout = 0 } = {}): Promise<void> {
    const message = { type: "unload_model", id, force };
    await this.#ask({ message, replies: ["model_unloaded"], timeout });
  }

  async countTokens(input: {
    text?: string;
    messages?: ChatMessage[];
    model?: string;
  }): Promise<number> {
    const frame = await this.request({ ...input, type: "count_tokens" }, "token_count");
    return frame["tokens"] as number;
  }

  /** Stops everything that this client runs. */
  async interrupt(): Promise<{ streamIds: string[]; batchIds: string[] }> {
    return (await this.request({ type: "interrupt" }, "interrupted")) as never;
  }

  getStatus(): Promise<Frame> {
    return this.request({ type: "get_status" }, "status");
  }

  async joinRoom(
    roomId: string,
    input: { name?: string; state?: unknown; invite?: string } = {},
  ): Promise<Room> {
    const known = this.#rooms.get(roomId);
    const lastSeq = known ? { lastSeq: known.cursor.seq } : {};
    const message = { ...input, ...lastSeq, type: "join_room", roomId };
    return this.#rooms.enter((await this.request(message, "room_joined")) as unknown as RoomJoined);
  }

  async listRooms(): Promise<{ roomId: string; title?: string; participants: number }[]> {
    return (await this.request({ type: "list_rooms" }, "rooms_list"))["rooms"] as never;
  }

  /** Any other message of the protocol: resolves with the reply, rejects with its error. */
  request(message: Message, reply: string): Promise<Frame> {
    return this.#ask({ message, replies: [reply], timeout: this.#requestTimeout });
  }

  #start(message: Message): AnswerStream {
    return this.#streams.start(message, this.#refusal(message));
  }

  #ask(spec: RequestSpec, requestId = newId()): Promise<Frame> {
    const refusal = this.#refusal(spec.message);
    if (refusal) return Promise.reject(refusal);
    const reply = this.#requests.add(requestId, spec);
    if (this.#isReady) this.#requests.flush((message) => this.#send(message), requestId);
    return reply;
  }

  /** During the handshake, ahead of all that waits for its end. */
  #askNow(message: Message, reply: string): Promise<Frame> {
    const requestId = newId();
    const spec = { message, replies: [reply], timeout: HANDSHAKE_TIMEOUT };
    const answer = this.#requests.add(requestId, spec);
    this.#requests.flush((frame) => this.#send(frame), requestId);
    return answer;
  }

  /** Why a message can't be sent at all: a frame too large would cost the connection. */
  #refusal(message: Message): Error | null {
    const { status } = this.#connection;
    if (status.state === "closed") return new ConnectionLostError(status.code, status.reason);
    const limit = this.#connected?.limits.maxMessageBytes;
    const text = JSON.stringify(message);
    // A UTF-16 unit is at most three bytes: short messages need no counting.
    if (!limit || text.length * 3 + ENVELOPE_BYTES <= limit) return null;
    const size = new TextEncoder().encode(text).length + ENVELOPE_BYTES;
    if (size <= limit) return null;
    const error = `The message is too large: ${size} bytes, and the server takes ${limit}.`;
    return new ServerError({ code: "payload_too_large", error, retryable: false });
  }

  #send(message: Record<string, unknown>): boolean {
    return this.#connection.send(JSON.stringify(message));
  }

  #receive(frame: Frame): void {
    this.#events.emit("frame", frame);
    if (frame.type === "connected") {
      this.#connected = frame as unknown as Connected;
      void this.#shakeHands(this.#connected);
    } else if (frame.type === "server_draining") {
      const draining = frame as unknown as Draining;
      this.#connection.expectDrain(draining.reconnectAfter, draining.spread);
      this.#events.emit("draining", draining);
    } else {
      // Before the promise of `resume` settles, so that the pieces behind it find their streams.
      if (frame.type === "resumed") this.#receiveResumed(frame as unknown as Resumed);
      const answered = this.#requests.receive(frame);
      this.#streams.receive(frame, answered);
      this.#rooms.receive(frame, this.#connected?.clientId);
    }
  }

  #adopted(stream: AnswerStream, roomId: string | undefined): void {
    const room = this.#rooms.get(roomId);
    if (room) room.receiveStream(stream);
    else this.#events.emit("stream", stream);
  }

  async #shakeHands(connected: Connected): Promise<void> {
    // A newer connection makes this handshake stale; its replies never come.
    const current = () => this.#connected === connected;
    try {
      await this.#authenticate(connected);
      const resumed = current() && (await this.#resume(connected));
      if (current()) this.#becomeReady(connected, resumed);
    } catch (error) {
      if (!current() || error instanceof ConnectionLostError) return;
      this.#refused = error instanceof ServerError ? error : null;
      this.#connection.close(4501, error instanceof Error ? error.message : String(error));
    }
  }

  async #authenticate(connected: Connected): Promise<void> {
    const { credentials } = this.#options;
    const proof = typeof credentials === "function" ? await credentials(connected) : credentials;
    if (!proof) {
      if (!connected.authRequired) return;
      const error = "This server asks for a key.";
      throw new ServerError({ code: "unauthorized", error, retryable: false });
    }
    try {
      const reply = await this.#askNow({ ...proof, type: "authenticate" }, "authenticated");
      this.#events.emit("authenticated", reply as unknown as Authenticated);
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
    const streams = this.#streams.cursors();
    const rooms = this.#rooms.cursors();
    try {
      await this.#askNow({ type: "resume", resumeToken, streams, rooms }, "resumed");
      return true;
    } catch (error) {
      if (error instanceof ServerError) return false;
      // No answer may mean that it was taken: keep the token for the next try.
      this.#resumeToken = resumeToken;
      throw error;
    }
  }

  #receiveResumed(resumed: Resumed): void {
    this.#resumeToken = resumed.resumeToken;
    if (this.#connected) this.#connected.clientId = resumed.clientId;
    this.#streams.receiveResumed(resumed.streams ?? []);
    for (const room of resumed.rooms ?? []) this.#rooms.enter(room);
  }

  #becomeReady(connected: Connected, resumed: boolean): void {
    this.#isReady = true;
    this.#refused = null;
    this.#connection.established(connected.heartbeatInterval || DEFAULT_HEARTBEAT);
    const same = resumed || this.#options.credentials !== undefined;
    if (!same) this.#requests.dropRepeated(1006);
    this.#streams.recover(resumed, same);
    if (!resumed) for (const room of this.#rooms.all()) this.#rejoin(room);
    this.#requests.flush((message) => this.#send(message));
    this.#events.emit("ready", { connected, resumed });
  }

  #rejoin(room: Room): void {
    const message = { type: "join_room", roomId: room.roomId, lastSeq: room.cursor.seq };
    this.request(message, "room_joined").then(
      (frame) => this.#rooms.enter(frame as unknown as RoomJoined),
      () => this.#rooms.leave(room, null),
    );
  }

  #down(code: number, final: boolean): void {
    this.#isReady = false;
    const resumable = !final && this.#connected?.capabilities.resume === true;
    this.#requests.lost(code, { repeatable: resumable, unsent: !final });
    this.#streams.lost(code, { final, resumable });
    if (final) for (const room of this.#rooms.all()) this.#rooms.leave(room, null);
  }

  #roomPort(): RoomPort {
    return {
      send: async (roomId, content) => {
        const message = { ...content, type: "room_message", roomId };
        const timeout = this.#requestTimeout;
        const spec = { message, replies: ["room_message"], timeout, repeatable: true };
        return (await this.#ask(spec)) as unknown as RoomEntry;
      },
      ask: (input) => this.stream(input),
      leave: async (roomId) => {
        await this.request({ type: "leave_room", roomId }, "room_left");
      },
      presence: async (roomId, state) => {
        await this.request({ type: "update_presence", roomId, state }, "room_presence");
      },
    };
  }
}

/** Connects; the client keeps itself connected until `close`. */
export function connect(url: string, options: ClientOptions = {}): Client {
  return new Client(url, options);
}
