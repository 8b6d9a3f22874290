/**
 * Rooms as this client sees them: the log without gaps or doubles, the members, the answers.
 *
 * The log is merged by `seq`; only entries of one epoch stand in it together. `Room` is what a
 * caller holds, `Rooms` gives each frame to its room and brings all back after a drop.
 */

import { Emitter, type Unsubscribe } from "./emitter.js";
import type { Frame, RoomEntry, RoomJoined, RoomMember, StreamInput } from "./messages.js";
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
  /** This client is no longer in the room. */
  left: Frame | null;
}

export interface RoomPort {
  send(roomId: string, message: { text?: string; data?: unknown }): Promise<RoomEntry>;
  ask(input: StreamInput): AnswerStream;
  leave(roomId: string): Promise<void>;
  presence(roomId: string, state: unknown): Promise<void>;
}

export class Room {
  readonly roomId: string;
  readonly #port: RoomPort;
  readonly #events = new Emitter<RoomEvents>();
  #log: RoomEntry[] = [];
  #members: RoomMember[] = [];
  #participants = 0;
  #epoch = "";
  #seq = 0;
  #role = "member";
  #settings: Record<string, unknown> = {};

  constructor(port: RoomPort, joined: RoomJoined) {
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

  setPresence(state: unknown): Promise<void> {
    return this.#port.presence(this.roomId, state);
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
        this.#events.emit("role", frame);
        return;
      default:
        return;
    }
    this.#events.emit("members", this.#members);
  }

  receiveLeft(frame: Frame | null): void {
    this.#events.emit("left", frame);
  }

  #addMember(member: RoomMember | undefined): void {
    if (!member) return;
    this.#members = [...this.#members.filter(({ userId }) => userId !== member.userId), member];
  }

  #remove(userId: string | undefined, clientId: string | null): void {
    this.#members = this.#members.filter(
      (member) => member.userId !== userId && !member.clientIds.includes(clientId ?? ""),
    );
  }

  /** Of big rooms the comings and goings of a moment come joined up. */
  #changeMembers(frame: Frame): void {
    for (const userId of (frame["left"] ?? []) as string[]) this.#remove(userId, null);
    for (const name of ["joined", "changed"]) {
      for (const member of (frame[name] ?? []) as RoomMember[]) this.#addMember(member);
    }
  }
}

export class Rooms {
  readonly #port: RoomPort;
  readonly #rooms = new Map<string, Room>();

  constructor(port: RoomPort) {
    this.#port = port;
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

  enter(joined: RoomJoined): Room {
    let room = this.#rooms.get(joined.roomId);
    if (room) room.receiveJoined(joined);
    else {
      room = new Room(this.#port, joined);
      this.#rooms.set(joined.roomId, room);
    }
    return room;
  }

  receive(frame: Frame, ownClientId: string | undefined): void {
    const room = this.get(frame["roomId"] as string | undefined);
    if (!room) return;
    const thrownOut = frame.type === "room_user_left" && frame["clientId"] === ownClientId;
    if (frame.type === "room_message") room.receiveEntry(frame as unknown as RoomEntry);
    else if (frame.type.startsWith("stream_")) room.receiveSeq(frame["seq"]);
    else if (frame.type === "room_left" || thrownOut) this.leave(room, frame);
    else room.receiveFrame(frame);
  }

  leave(room: Room, frame: Frame | null): void {
    this.#rooms.delete(room.roomId);
    room.receiveLeft(frame);
  }
}
