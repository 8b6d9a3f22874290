/**
 * Rooms as this client sees them: the log without gaps or doubles, the members, the answers.
 *
 * The log is merged by `seq`; only entries of one epoch stand in it together. `Room` is what a
 * caller holds, `Rooms` gives each frame to its room and brings all back after a drop.
 */

import { Emitter, type Unsubscribe } from "./emitter.js";
import type {
  Frame,
  GenerationOptions,
  RoomEntry,
  RoomHistory,
  RoomJoined,
  RoomMember,
  StreamInput,
} from "./messages.js";
import type { AnswerStream } from "./stream.js";

export interface RoomEvents {
  /** A new entry of the log, in order. */
  message: RoomEntry;
  /** The whole log was replaced: what was missed is too much to replay. */
  reset: readonly RoomEntry[];
  members: readonly RoomMember[];
  presence: Frame;
  updated: Frame;
  role: Frame;
  /** An answer began in this room, whoever asked. */
  stream: AnswerStream;
  /**
   * This client is no longer in the room: it left (`room_left`), was thrown out
   * (`room_user_left`), or was refused when it came back (`error`). Null: the connection is closed
   * for good, or the server no longer had this client in the room.
   */
  left: Frame | null;
}

/** How one enters: said again where a new connection has to. */
export interface Entrance {
  name?: string;
  /** The presence state. */
  state?: Record<string, unknown>;
  invite?: string;
}

export interface RoomPort {
  send(roomId: string, message: { text?: string; data?: unknown }): Promise<RoomEntry>;
  ask(input: StreamInput): AnswerStream;
  leave(roomId: string): Promise<void>;
  presence(roomId: string, state: Record<string, unknown>): Promise<void>;
  /** Sends any other request about a room and waits for its reply. */
  request(message: { type: string; [field: string]: unknown }, reply: string): Promise<Frame>;
}

/** Settings of a room; those left out stay as they are, an empty text takes its setting away. */
export interface RoomSettings {
  title?: string;
  model?: string;
  systemPrompt?: string;
  options?: GenerationOptions;
  maxMembers?: number;
  access?: "open" | "invited";
  ask?: "everyone" | "members" | "moderators";
  whenBusy?: "queue" | "reject" | "parallel" | "steer";
  locked?: boolean;
}

export type RoomRole = "owner" | "moderator" | "member" | "viewer";

export class Room {
  readonly roomId: string;
  readonly #port: RoomPort;
  readonly #events = new Emitter<RoomEvents>();
  /** What `join_room` says besides the place in the log. */
  entrance: Entrance = {};
  #log: RoomEntry[] = [];
  #members: RoomMember[] = [];
  #participants = 0;
  #epoch = "";
  #seq = 0;
  #role = "member";
  #settings: Record<string, unknown> = {};

  readonly #ownClientId: () => string | undefined;

  constructor(port: RoomPort, joined: RoomJoined, ownClientId: () => string | undefined) {
    this.#ownClientId = ownClientId;
    this.roomId = joined.roomId;
    this.#port = port;
    this.receiveJoined(joined);
  }

  get log(): readonly RoomEntry[] {
    return this.#log;
  }

  get members(): readonly RoomMember[] {
    return this.#members;
  }

  get participants(): number {
    return this.#participants;
  }

  get role(): string {
    return this.#role;
  }

  get settings(): Readonly<Record<string, unknown>> {
    return this.#settings;
  }

  /** What a later `join_room` or `resume` needs to replay only what was missed. */
  get cursor(): { epoch: string; seq: number } {
    return { epoch: this.#epoch, seq: this.#seq };
  }

  on<Name extends keyof RoomEvents>(
    name: Name,
    listener: (event: RoomEvents[Name]) => void,
  ): Unsubscribe {
    return this.#events.on(name, listener);
  }

  send(text: string, data?: unknown): Promise<RoomEntry> {
    return this.#port.send(this.roomId, data === undefined ? { text } : { text, data });
  }

  /** Asks the model in front of everyone. */
  ask(input: StreamInput): AnswerStream {
    return this.#port.ask({ ...input, roomId: this.roomId });
  }

  leave(): Promise<void> {
    return this.#port.leave(this.roomId);
  }

  setPresence(state: Record<string, unknown>): Promise<void> {
    this.entrance = { ...this.entrance, state };
    return this.#port.presence(this.roomId, state);
  }

  /** A page of the log, oldest first: the newest one, or the one that ends before a `seq`. */
  async history(page: { before?: number; limit?: number } = {}): Promise<RoomHistory> {
    return (await this.#request("room_history", page, "room_history")) as unknown as RoomHistory;
  }

  /** Changes settings, as an owner or a moderator. */
  async update(settings: RoomSettings): Promise<void> {
    await this.#request("update_room", { settings }, "room_updated");
  }

  async setRole(userId: string, role: RoomRole): Promise<void> {
    await this.#request("set_role", { userId, role }, "room_role");
  }

  /** Sends a user out with all clients; they may come back as anybody may. */
  async kick(userId: string): Promise<void> {
    await this.#request("kick", { userId }, "room_user_left");
  }

  /** Sends a user out for good. */
  async ban(userId: string): Promise<void> {
    await this.#request("ban", { userId }, "room_role");
  }

  async unban(userId: string): Promise<void> {
    await this.#request("unban", { userId }, "room_role");
  }

  /** Makes an invite, which `joinRoom` takes; `expiresIn` is milliseconds. */
  async invite(input: { role?: RoomRole; expiresIn?: number } = {}): Promise<string> {
    const frame = await this.#request("create_invite", input, "room_invite");
    return frame["invite"] as string;
  }

  #request(type: string, fields: object, reply: string): Promise<Frame> {
    return this.#port.request({ ...fields, type, roomId: this.roomId }, reply);
  }

  receiveJoined(joined: RoomJoined): void {
    const continues = joined.recovered && joined.epoch === this.#epoch && this.#log.length > 0;
    this.#members = joined.members;
    this.#participants = joined.participants;
    this.#role = joined.role;
    this.#settings = joined.settings ?? {};
    this.#epoch = joined.epoch;
    if (continues) for (const entry of joined.messages) this.receiveEntry(entry);
    else {
      this.#log = [...joined.messages];
      this.#events.emit("reset", this.#log);
    }
    this.#seq = Math.max(continues ? this.#seq : 0, joined.seq);
    this.#events.emit("members", this.#members);
  }

  receiveEntry(entry: RoomEntry): void {
    if (entry.seq <= this.#seq) return;
    this.#log.push(entry);
    this.#seq = entry.seq;
    this.#events.emit("message", entry);
  }

  /** An ask or an answer took this place in the log; its text comes with the stream. */
  receiveSeq(seq: unknown): void {
    if (typeof seq === "number" && seq > this.#seq) this.#seq = seq;
  }

  receiveStream(stream: AnswerStream): void {
    this.#events.emit("stream", stream);
  }

  receiveFrame(frame: Frame): void {
    if (typeof frame["participants"] === "number") this.#participants = frame["participants"];
    switch (frame.type) {
      case "room_user_joined":
        this.#addMember(frame["member"] as RoomMember | undefined);
        break;
      case "room_user_left":
        this.#remove(frame["userId"] as string | undefined, frame["clientId"] as string);
        break;
      case "room_presence":
        this.#changeMembers(frame);
        this.#events.emit("presence", frame);
        break;
      case "room_updated":
        this.#settings = (frame["settings"] as Record<string, unknown> | undefined) ?? this.#settings;
        this.#events.emit("updated", frame);
        return;
      case "room_role":
        this.#changeRole(frame["userId"] as string, frame["role"] as string);
        this.#events.emit("role", frame);
        break;
      default:
        return;
    }
    this.#events.emit("members", this.#members);
  }

  receiveLeft(frame: Frame | null): void {
    this.#events.emit("left", frame);
  }

  #changeRole(userId: string, role: string): void {
    const member = this.#members.find((one) => one.userId === userId);
    if (!member) return;
    this.#addMember({ ...member, role });
    if (member.clientIds.includes(this.#ownClientId() ?? "")) this.#role = role;
  }

  #addMember(member: RoomMember | undefined): void {
    if (!member) return;
    const known = this.#members.some(({ userId }) => userId === member.userId);
    this.#members = known
      ? this.#members.map((other) => (other.userId === member.userId ? member : other))
      : [...this.#members, member];
  }

  #remove(userId: string | undefined, clientId: string | null): void {
    this.#members = this.#members.filter(
      (member) => member.userId !== userId && !member.clientIds.includes(clientId ?? ""),
    );
  }

  /** Of big rooms the comings and goings of a moment come joined up. */
  #changeMembers(frame: Frame): void {
    this.#addMember(frame["member"] as RoomMember | undefined);
    for (const userId of (frame["left"] ?? []) as string[]) this.#remove(userId, null);
    for (const name of ["joined", "changed"]) {
      for (const member of (frame[name] ?? []) as RoomMember[]) this.#addMember(member);
    }
  }
}

export class Rooms {
  readonly #port: RoomPort;
  readonly #ownClientId: () => string | undefined;
  readonly #rooms = new Map<string, Room>();

  constructor(port: RoomPort, ownClientId: () => string | undefined) {
    this.#port = port;
    this.#ownClientId = ownClientId;
  }

  get(roomId: string | undefined): Room | undefined {
    return roomId === undefined ? undefined : this.#rooms.get(roomId);
  }

  all(): Room[] {
    return [...this.#rooms.values()];
  }

  /** What `resume` needs to replay only what was missed. */
  cursors(): Record<string, { epoch: string; seq: number }> {
    return Object.fromEntries([...this.#rooms].map(([roomId, room]) => [roomId, room.cursor]));
  }

  /** A connection was resumed, and the server says in which rooms this client is. */
  resume(joined: readonly RoomJoined[]): void {
    const listed = new Set(joined.map(({ roomId }) => roomId));
    for (const room of joined) this.enter(room);
    for (const room of this.all()) if (!listed.has(room.roomId)) this.leave(room, null);
  }

  enter(joined: RoomJoined): Room {
    let room = this.#rooms.get(joined.roomId);
    if (room) room.receiveJoined(joined);
    else {
      room = new Room(this.#port, joined, this.#ownClientId);
      this.#rooms.set(joined.roomId, room);
    }
    return room;
  }

  receive(frame: Frame): void {
    const room = this.get(frame["roomId"] as string | undefined);
    if (!room) return;
    const thrownOut = frame.type === "room_user_left" && frame["clientId"] === this.#ownClientId();
    if (frame.type === "room_message") room.receiveEntry(frame as unknown as RoomEntry);
    else if (frame.type === "room_joined") {
      // A reply is taken by who asked. Unasked: the server had to begin the log anew.
      if (frame["requestId"] === undefined) room.receiveJoined(frame as unknown as RoomJoined);
    }
    else if (frame.type.startsWith("stream_")) room.receiveSeq(frame["seq"]);
    else if (frame.type === "room_left" || thrownOut) this.leave(room, frame);
    else room.receiveFrame(frame);
  }

  leave(room: Room, frame: Frame | null): void {
    this.#rooms.delete(room.roomId);
    room.receiveLeft(frame);
  }
}
