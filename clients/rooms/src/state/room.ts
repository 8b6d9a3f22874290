/**
 * The state of a room as a pure function of what the server says: `reduce` takes one frame after
 * the other, and whatever is lost, repeated or joined midway, equal logs come out.
 *
 * Invariant: `log` is sorted by `seq`, each once. What the server tells of an answer while it is
 * made stands in `open`; its text is not here, for it belongs to its stream.
 */

import type {
  Frame,
  RoomEntry,
  RoomJoined,
  RoomMember,
  RoomRole,
  RoomSettings,
  StreamEnd,
  StreamStart,
  ToolCall,
} from "@wsserver/client";
import { addNotice, type Notice, settingsNotice } from "./notices.js";

export interface Entry {
  readonly seq: number;
  readonly role: "user" | "assistant";
  readonly clientId: string | null;
  readonly userId: string | null;
  readonly name: string | null;
  /** Null: the stream has it (an answer that was seen live), or the log must be asked for it. */
  readonly text: string | null;
  readonly data?: unknown;
  readonly streamId: string | null;
  readonly continues: string | null;
  /** Milliseconds since the epoch. */
  readonly timestamp: number;
}

export interface OpenAnswer {
  readonly streamId: string;
  readonly clientId: string | null;
  readonly userId: string | null;
  readonly asker: string;
  readonly model: string | null;
  readonly continues: string | null;
}

export interface Ending {
  readonly kind: "complete" | "length" | "timeout" | "stopped" | "error";
  /** Who stopped it, and how the others call them. */
  readonly by?: { clientId: string; name: string };
  readonly message?: string;
  readonly tools?: readonly ToolCall[];
}

export interface Me {
  readonly clientId: string;
  readonly userId: string;
}

export interface RoomState {
  readonly roomId: string;
  readonly me: Me;
  /** Empty until the room was entered. */
  readonly epoch: string;
  readonly log: readonly Entry[];
  /** The server has entries before these. */
  readonly hasMore: boolean;
  readonly open: readonly OpenAnswer[];
  /** How answers ended that were seen to end, by stream. */
  readonly endings: Readonly<Record<string, Ending>>;
  readonly members: readonly RoomMember[];
  readonly participants: number;
  readonly role: RoomRole;
  readonly settings: RoomSettings;
  readonly notices: readonly Notice[];
  /** When each member was last heard to type. */
  readonly typed: Readonly<Record<string, number>>;
  /** Users that were banned while we looked. */
  readonly banned: readonly string[];
  /** Why we are not in the room any more. */
  readonly out: "left" | "kicked" | "banned" | null;
}

export function outside(roomId: string, me: Me): RoomState {
  return {
    roomId,
    me,
    epoch: "",
    log: [],
    hasMore: false,
    open: [],
    endings: {},
    members: [],
    participants: 0,
    role: "viewer",
    settings: {},
    notices: [],
    typed: {},
    banned: [],
    out: null,
  };
}

/** @param now Milliseconds since the epoch, for what the server gives no time of. */
export function reduce(state: RoomState, frame: Frame, now: number): RoomState {
  if (frame.type === "connected") return { ...state, me: { ...state.me, clientId: frame["clientId"] as string } };
  if (frame.type === "authenticated") return { ...state, me: { ...state.me, userId: frame["userId"] as string } };
  if (frame.type === "resumed") return resumed(state, frame, now);
  const known = frame.streamId !== undefined && state.open.some(({ streamId }) => streamId === frame.streamId);
  if (frame["roomId"] !== state.roomId && !known) return state;
  const participants = frame["participants"];
  const counted = typeof participants === "number" ? { ...state, participants } : state;
  return REDUCERS[frame.type]?.(counted, frame, now) ?? counted;
}

type Reducer = (state: RoomState, frame: Frame, now: number) => RoomState;

const REDUCERS: Record<string, Reducer> = {
  room_joined: (state, frame, now) => joined(state, frame as unknown as RoomJoined, now),
  room_message: (state, frame) => ({ ...state, log: merge(state.log, [toEntry(frame as unknown as RoomEntry)]) }),
  room_history: history,
  room_user_joined: userJoined,
  room_user_left: userLeft,
  room_left: (state) => ({ ...state, out: state.out ?? "left" }),
  room_presence: presence,
  room_updated: updated,
  room_role: ranked,
  stream_start: (state, frame, now) => started(state, frame as unknown as StreamStart, now),
  stream_snapshot: snapshot,
  stream_complete: (state, frame, now) => ended(state, frame as unknown as StreamEnd, now),
  stream_stopped: (state, frame, now) => ended(state, frame as unknown as StreamEnd, now),
  stream_error: (state, frame, now) => ended(state, frame as unknown as StreamEnd, now),
};

function resumed(state: RoomState, frame: Frame, now: number): RoomState {
  const me = { ...state.me, clientId: frame["clientId"] as string };
  const rooms = (frame["rooms"] ?? []) as RoomJoined[];
  const room = rooms.find(({ roomId }) => roomId === state.roomId);
  return room ? joined({ ...state, me }, room, now) : { ...state, me };
}

function joined(state: RoomState, room: RoomJoined, now: number): RoomState {
  const continues = room.recovered && room.epoch === state.epoch;
  const entries = room.messages.map(toEntry);
  const log = continues ? merge(state.log, entries) : merge([], entries);
  const entered: RoomState = {
    ...state,
    epoch: room.epoch,
    log,
    hasMore: continues && state.log.length > 0 ? state.hasMore : (log[0]?.seq ?? 1) > 1,
    notices: continues ? state.notices : [],
    members: room.members,
    participants: room.participants,
    role: room.role as RoomRole,
    settings: (room.settings ?? {}) as RoomSettings,
    out: null,
  };
  const open = room.activeStreams.map(({ streamId, clientId, model }) => {
    const known = state.open.find((one) => one.streamId === streamId);
    return known ?? openAnswer(entered, { streamId, clientId, model });
  });
  const again = !continues && state.epoch !== "";
  return addNotice({ ...entered, open }, again ? "The log of the room was replaced: more was missed than could be replayed." : null, now);
}

function started(state: RoomState, start: StreamStart, now: number): RoomState {
  const { streamId, clientId = null, userId = null, name = null, prompt = null, seq } = start;
  const said: Entry[] = [];
  if (seq !== undefined && !has(state.log, seq)) {
    const author = { clientId, userId, name };
    said.push({ ...author, seq, role: "user", text: prompt, streamId, continues: null, timestamp: now });
  }
  const next = said.length > 0 ? { ...state, log: merge(state.log, said) } : state;
  return opened(next, start);
}

function snapshot(state: RoomState, frame: Frame): RoomState {
  return frame["state"] === "ended" ? state : opened(state, frame as unknown as StreamStart);
}

type Opening = Pick<StreamStart, "streamId" | "clientId" | "userId" | "name" | "model" | "continues">;

function opened(state: RoomState, start: Opening): RoomState {
  const { streamId, userId = null, name } = start;
  const known = state.open.find((one) => one.streamId === streamId);
  if (known) {
    // Of one that ran before we came, only its snapshot tells for certain who asked.
    if (name === undefined || name === known.asker) return state;
    const open = state.open.map((one) => (one === known ? { ...one, userId, asker: name } : one));
    return { ...state, open };
  }
  const isAnswered = state.log.some((entry) => entry.role === "assistant" && entry.streamId === streamId);
  if (streamId in state.endings || isAnswered) return state;
  return { ...state, open: [...state.open, openAnswer(state, start)] };
}

function openAnswer(state: RoomState, start: Opening): OpenAnswer {
  const { streamId, clientId = null, model = null, continues = null } = start;
  const question = state.log.find((entry) => entry.role === "user" && entry.streamId === streamId);
  const member = memberOf(state, clientId);
  const asker = start.name ?? question?.name ?? nameOf(state, clientId);
  const userId = start.userId ?? question?.userId ?? member?.userId ?? null;
  return { streamId, clientId, userId, asker, model, continues };
}

/** An answer without a `seq` has no place in the log: it stays where it was made. */
function ended(state: RoomState, end: StreamEnd, now: number): RoomState {
  const { streamId, seq } = end;
  if (streamId === undefined) return state;
  const answer = state.open.find((one) => one.streamId === streamId);
  const endings = { ...state.endings, [streamId]: toEnding(state, end) };
  if (seq === undefined) return answer ? { ...state, endings } : state;
  const open = state.open.filter((one) => one !== answer);
  if (has(state.log, seq)) return { ...state, endings, open };
  const model = answer?.model ?? null;
  const author = { clientId: null, userId: model, name: model, continues: answer?.continues ?? null };
  const entry: Entry = { ...author, seq, role: "assistant", text: null, streamId, timestamp: now };
  return { ...state, endings, open, log: merge(state.log, [entry]) };
}

function toEnding(state: RoomState, end: StreamEnd): Ending {
  if (end.type === "stream_error") return { kind: "error", message: end.error };
  if (end.type === "stream_stopped") {
    const { stoppedBy } = end;
    const name = stoppedBy === "server" ? "the server" : nameOf(state, stoppedBy);
    return { kind: "stopped", by: { clientId: stoppedBy, name } };
  }
  const { finishReason, toolCalls } = end;
  const kind = finishReason === "length" || finishReason === "timeout" ? finishReason : "complete";
  return toolCalls ? { kind, tools: toolCalls } : { kind };
}

function history(state: RoomState, frame: Frame): RoomState {
  const entries = (frame["messages"] as RoomEntry[]).map(toEntry);
  const first = state.log[0]?.seq ?? Infinity;
  // A page from the middle, read for what it says of one entry, tells nothing of the beginning.
  const isOlder = (entries[0]?.seq ?? 0) < first;
  const hasMore = isOlder ? (frame["hasMore"] as boolean) : state.hasMore;
  return { ...state, log: merge(state.log, entries), hasMore };
}

function userJoined(state: RoomState, frame: Frame, now: number): RoomState {
  const member = frame["member"] as RoomMember | undefined;
  if (!member) return state;
  return addNotice({ ...state, members: withMember(state.members, member) }, `${called(member)} came in`, now);
}

function userLeft(state: RoomState, frame: Frame, now: number): RoomState {
  const { userId, clientId, reason } = frame as unknown as { userId?: string; clientId: string; reason: string };
  const thrown = reason === "kicked" || reason === "banned";
  const gone = state.members.find((member) => member.userId === userId || member.clientIds.includes(clientId));
  if (userId === state.me.userId || clientId === state.me.clientId) {
    return { ...state, out: thrown ? reason : "left" };
  }
  const members = state.members.filter((member) => member !== gone);
  const how: Record<string, string> = { kicked: "was sent out", banned: "was banned", timeout: "lost the connection" };
  const name = gone ? called(gone) : (userId ?? "Someone");
  return addNotice({ ...state, members }, `${name} ${how[reason] ?? "left"}`, now);
}

/** Of one member, or of a moment's comings and goings in a big room. */
function presence(state: RoomState, frame: Frame, now: number): RoomState {
  const listed = (name: string) => (frame[name] ?? []) as RoomMember[];
  const one = frame["member"] ? [frame["member"] as RoomMember] : [];
  const left = new Set((frame["left"] ?? []) as string[]);
  let members: readonly RoomMember[] = state.members.filter(({ userId }) => !left.has(userId));
  const typed = { ...state.typed };
  for (const member of [...listed("joined"), ...listed("changed"), ...one]) {
    members = withMember(members, member);
    if (stateOf(member).typing) typed[member.userId] = now;
    else delete typed[member.userId];
  }
  return { ...state, members, typed };
}

function updated(state: RoomState, frame: Frame, now: number): RoomState {
  const settings = frame["settings"] as RoomSettings;
  const by = byUser(state, frame["by"] as string | undefined);
  return addNotice({ ...state, settings }, settingsNotice(state.settings, settings, by), now);
}

function ranked(state: RoomState, frame: Frame, now: number): RoomState {
  const { userId, role, by } = frame as unknown as { userId: string; role: string; by: string };
  const name = byUser(state, userId);
  if (role === "banned") {
    return addNotice({ ...state, banned: [...state.banned.filter((one) => one !== userId), userId] }, null, now);
  }
  const banned = state.banned.filter((one) => one !== userId);
  const members = state.members.map((member) => (member.userId === userId ? { ...member, role } : member));
  const own = userId === state.me.userId ? (role as RoomRole) : state.role;
  const text = banned.length < state.banned.length ? `${name} is no longer banned` : `${name} is ${article(role)} now${by === "server" ? "" : `, by ${byUser(state, by)}`}`;
  return addNotice({ ...state, members, banned, role: own }, text, now);
}

/** What a member shows of itself; anything else that a client may say is ignored. */
export function stateOf(member: RoomMember): { typing: boolean; away: boolean } {
  const { typing, away } = (member.state ?? {}) as { typing?: unknown; away?: unknown };
  return { typing: typing === true, away: away === true };
}

/** How a member is called. */
export function called(member: RoomMember): string {
  return member.name || member.userId;
}

export function nameOf(state: RoomState, clientId: string | null): string {
  const member = memberOf(state, clientId);
  return member ? called(member) : "someone";
}

function memberOf(state: RoomState, clientId: string | null): RoomMember | undefined {
  return state.members.find(({ clientIds }) => clientIds.includes(clientId ?? ""));
}

function byUser(state: RoomState, userId: string | undefined): string {
  const member = state.members.find((one) => one.userId === userId);
  return member ? called(member) : (userId ?? "someone");
}

export function article(role: string): string {
  return role === "owner" ? "an owner" : `a ${role}`;
}

function withMember(members: readonly RoomMember[], member: RoomMember): readonly RoomMember[] {
  const known = members.some(({ userId }) => userId === member.userId);
  if (!known) return [...members, member];
  return members.map((other) => (other.userId === member.userId ? member : other));
}

function toEntry(entry: RoomEntry): Entry {
  const { seq, role, clientId = null, userId = null, name = null, text = "", streamId = null } = entry;
  const { data, continues = null, timestamp } = entry;
  const made = { seq, role, clientId, userId, name, text, streamId, continues, timestamp };
  return data === undefined || data === null ? made : { ...made, data };
}

function has(log: readonly Entry[], seq: number): boolean {
  return log.some((entry) => entry.seq === seq);
}

/** What the log itself says counts more than what was made of a stream's events. */
function merge(log: readonly Entry[], entries: readonly Entry[]): readonly Entry[] {
  const last = log.at(-1)?.seq ?? 0;
  if (entries.every(({ seq }, index) => seq > (entries[index - 1]?.seq ?? last))) return [...log, ...entries];
  const merged = new Map(log.map((entry) => [entry.seq, entry]));
  for (const entry of entries) merged.set(entry.seq, entry);
  return [...merged.values()].sort((one, other) => one.seq - other.seq);
}
