/**
 * The client: one object with everything that can be asked, over connections that come and go.
 *
 * This room hands every frame to whom it belongs, and holds requests back until the handshake is
 * done. When a socket is opened is the connection's business, who a connection is the handshake's,
 * what becomes of an answer after a drop that of `Streams`, and what a piece of text means the
 * stream's.
 */

import { Calls, type Message } from "./calls.js";
import { Connection, type Status } from "./connection.js";
import { Emitter, type Unsubscribe } from "./emitter.js";
import { ConnectionLostError, errorFields, ServerError } from "./errors.js";
import { Handshake } from "./handshake.js";
import { newId } from "./ids.js";
import type {
  Authenticated,
  Connected,
  Draining,
  Frame,
  GenerationOptions,
  Resumed,
  RoomEntry,
  RoomJoined,
  StreamInput,
} from "./messages.js";
import type { ClientEvents, ClientOptions } from "./options.js";
import { Requests, type RequestSpec } from "./requests.js";
import { type Entrance, type Room, type RoomPort, Rooms } from "./rooms.js";
import { Sessions } from "./sessions.js";
import type { AnswerStream } from "./stream.js";
import { Streams } from "./streams.js";

const DEFAULT_HEARTBEAT = 20_000;
/** A requestId and the field around it, at most. */
const ENVELOPE_BYTES = 100;

export class Client extends Calls {
  readonly sessions: Sessions;
  readonly #options: ClientOptions;
  readonly #connection: Connection;
  readonly #events = new Emitter<ClientEvents>();
  readonly #requests = new Requests();
  readonly #streams: Streams;
  readonly #rooms: Rooms;
  readonly #handshake: Handshake;
  #isReady = false;
  #refused: ServerError | null = null;

  constructor(url: string, options: ClientOptions = {}) {
    super(options);
    this.#options = options;
    this.#handshake = this.#shaking(options);
    this.#rooms = new Rooms(this.#roomPort(), () => this.connected?.clientId);
    this.#streams = new Streams(
      {
        send: (message) => this.#isReady && this.tell(message),
        ask: (spec) => this.ask(spec),
        adopted: (stream, roomId) => this.#adopted(stream, roomId),
      },
      this.requestTimeout,
    );
    this.sessions = new Sessions((message, reply, repeatable = false) =>
      this.ask({ message, replies: [reply], timeout: this.requestTimeout, repeatable }),
    );
    const events = {
      frame: (data: string) => this.#receive(JSON.parse(data) as Frame),
      down: (code: number, final: boolean) => this.#down(code, final),
      status: (status: Status) => this.#events.emit("status", status),
      ping: () => void this.tell({ type: "ping" }),
    };
    this.#connection = new Connection(url, events, options);
    this.#connection.open();
  }

  get status(): Status {
    return this.#connection.status;
  }

  /** The server's greeting on this connection, null before the first one. */
  get connected(): Connected | null {
    return this.#handshake.connected;
  }

  get resumeToken(): string | null {
    return this.#handshake.resumeToken;
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

  /**
   * Leaves the rooms and ends the connection; nothing reconnects, and what is still pending is
   * rejected. The others see the user go at once, not when the server stops waiting for them.
   */
  close(): void {
    if (this.#isReady) {
      for (const { roomId } of this.#rooms.all()) this.tell({ type: "leave_room", roomId });
    }
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

  async joinRoom(
    roomId: string,
    input: Entrance = {},
  ): Promise<Room> {
    const known = this.#rooms.get(roomId);
    const lastSeq = known ? { lastSeq: known.cursor } : {};
    const message = { ...input, ...lastSeq, type: "join_room", roomId };
    const frame = await this.request(message, "room_joined");
    const room = this.#rooms.enter(frame as unknown as RoomJoined);
    room.entrance = input;
    return room;
  }

  #start(message: Message): AnswerStream {
    return this.#streams.start(message, this.#refusal(message));
  }

  protected ask(spec: RequestSpec, requestId = newId()): Promise<Frame> {
    const refusal = this.#refusal(spec.message);
    if (refusal) return Promise.reject(refusal);
    const reply = this.#requests.add(requestId, spec);
    if (this.#isReady) this.#requests.flush((message) => this.tell(message), requestId);
    return reply;
  }

  /** Why a message can't be sent at all: a frame too large would cost the connection. */
  #refusal(message: Message): Error | null {
    const { status } = this.#connection;
    if (status.state === "closed") return new ConnectionLostError(status.code, status.reason);
    const limit = this.connected?.limits.maxMessageBytes;
    const text = JSON.stringify(message);
    // A UTF-16 unit is at most three bytes: short messages need no counting.
    if (!limit || text.length * 3 + ENVELOPE_BYTES <= limit) return null;
    const size = new TextEncoder().encode(text).length + ENVELOPE_BYTES;
    if (size <= limit) return null;
    const error = `The message is too large: ${size} bytes, and the server takes ${limit}.`;
    return new ServerError({ code: "payload_too_large", error, retryable: false });
  }

  protected tell(message: Record<string, unknown>): boolean {
    return this.#connection.send(JSON.stringify(message));
  }

  #receive(frame: Frame): void {
    this.#events.emit("frame", frame);
    if (frame.type === "connected") {
      void this.#handshake.begin(frame as unknown as Connected);
    } else if (frame.type === "server_draining") {
      const draining = frame as unknown as Draining;
      this.#connection.expectDrain(draining.reconnectAfter, draining.spread);
      this.#events.emit("draining", draining);
    } else {
      // Before the promise of `resume` settles, so that the pieces behind it find their streams.
      if (frame.type === "resumed") this.#receiveResumed(frame as unknown as Resumed);
      const answered = this.#requests.receive(frame);
      this.#streams.receive(frame, answered);
      this.#rooms.receive(frame);
    }
  }

  #adopted(stream: AnswerStream, roomId: string | undefined): void {
    const room = this.#rooms.get(roomId);
    if (room) room.receiveStream(stream);
    else this.#events.emit("stream", stream);
  }

  #shaking(options: ClientOptions): Handshake {
    const port = {
      ask: (message: Message, reply: string) => {
        const requestId = newId();
        // Its time is the connection's: one that is not established by then is dropped.
        const answer = this.#requests.add(requestId, { message, replies: [reply], timeout: 0 });
        this.#requests.flush((frame) => this.tell(frame), requestId);
        return answer;
      },
      cursors: () => ({ streams: this.#streams.cursors(), rooms: this.#rooms.cursors() }),
      authenticated: (reply: Authenticated) => this.#events.emit("authenticated", reply),
      ready: (connected: Connected, resumed: boolean) => this.#becomeReady(connected, resumed),
      later: (reason: string) => this.#connection.comeBack(reason),
      refused: (error: ServerError) => {
        this.#refused = error;
        this.#connection.close(4501, error.message);
      },
    };
    return new Handshake(port, options);
  }

  #receiveResumed(resumed: Resumed): void {
    this.#handshake.receiveResumed(resumed.clientId, resumed.resumeToken);
    this.#streams.receiveResumed(resumed.streams ?? []);
    if (resumed.rooms) this.#rooms.resume(resumed.rooms);
  }

  #becomeReady(connected: Connected, resumed: boolean): void {
    this.#isReady = true;
    this.#refused = null;
    this.#connection.established(connected.heartbeatInterval || DEFAULT_HEARTBEAT);
    const same = resumed || this.#options.credentials !== undefined;
    if (!same) this.#requests.dropRepeated(1006);
    this.#streams.recover(resumed, same);
    if (!resumed) for (const room of this.#rooms.all()) this.#rejoin(room);
    this.#requests.flush((message) => this.tell(message));
    this.#events.emit("ready", { connected, resumed });
  }

  #rejoin(room: Room): void {
    const { roomId, cursor, entrance } = room;
    const message = { ...entrance, type: "join_room", roomId, lastSeq: cursor };
    this.request(message, "room_joined").then(
      (frame) => this.#rooms.enter(frame as unknown as RoomJoined),
      (error: Error) => {
        // The next connection tries again.
        if (error instanceof ConnectionLostError) return;
        this.#rooms.leave(room, { type: "error", ...errorFields(error) });
      },
    );
  }

  #down(code: number, final: boolean): void {
    this.#isReady = false;
    this.#handshake.lost();
    const resumable = !final && this.connected?.capabilities.resume === true;
    this.#requests.lost(code, { repeatable: resumable, unsent: !final });
    this.#streams.lost(code, { final, resumable });
    if (final) for (const room of this.#rooms.all()) this.#rooms.leave(room, null);
  }

  #roomPort(): RoomPort {
    return {
      send: async (roomId, content) => {
        const message = { ...content, type: "room_message", roomId };
        const timeout = this.requestTimeout;
        const spec = { message, replies: ["room_message"], timeout, repeatable: true };
        return (await this.ask(spec)) as unknown as RoomEntry;
      },
      ask: (input) => this.stream(input),
      leave: async (roomId) => {
        await this.request({ type: "leave_room", roomId }, "room_left");
      },
      presence: async (roomId, state) => {
        await this.request({ type: "update_presence", roomId, state }, "room_presence");
      },
      request: (message, reply) => this.request(message, reply),
    };
  }
}

/** Connects; the client keeps itself connected until `close`. */
export function connect(url: string, options: ClientOptions = {}): Client {
  return new Client(url, options);
}
