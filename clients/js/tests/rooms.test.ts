import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type Client, connect } from "../src/client.js";
import type { Frame } from "../src/messages.js";
import type { Entrance, Room } from "../src/rooms.js";
import { settle, TestSocket } from "./socket.js";

let client: Client;
let socket: TestSocket;

const member = (userId: string, more: object = {}) => ({
  userId,
  name: userId,
  role: "member",
  state: {},
  clientIds: [`c-${userId}`],
  ...more,
});

const joined = {
  type: "room_joined",
  roomId: "lobby",
  participants: 2,
  members: [member("me", { role: "owner" }), member("bob")],
  epoch: "e",
  seq: 3,
  recovered: true,
  messages: [],
  activeStreams: [],
  role: "owner",
  settings: {},
};

const entry = (seq: number, text: string) => ({
  seq,
  messageId: `m-${seq}-${text}`,
  role: "user",
  clientId: "c-bob",
  userId: "bob",
  name: "bob",
  text,
  timestamp: 1,
});

async function enter(input: Entrance = {}): Promise<Room> {
  client = connect("ws://server/ws", { WebSocket: TestSocket, random: () => 1 });
  socket = TestSocket.last;
  socket.greet({ clientId: "c-me" });
  await settle();
  const entering = client.joinRoom("lobby", input);
  socket.say({ ...joined, requestId: socket.asked("join_room").requestId });
  return entering;
}

/** The wire breaks, and the next connection is greeted; `answer` is what its `resume` gets. */
async function comeBack(answer: Record<string, unknown>): Promise<void> {
  socket.drop();
  await vi.advanceTimersByTimeAsync(20_000);
  socket = TestSocket.last;
  socket.greet();
  await settle();
  socket.say({ ...answer, requestId: socket.asked("resume").requestId });
  await settle();
}

const expired = { type: "error", code: "resume_expired", error: "too late", retryable: false };

beforeEach(() => {
  vi.useFakeTimers();
  TestSocket.opened = [];
});

afterEach(() => {
  client.close();
  vi.useRealTimers();
});

describe("a server that lost the log", () => {
  it("replaces what the room has by an unasked room_joined", async () => {
    const room = await enter();
    socket.say({ type: "room_message", roomId: "lobby", ...entry(1, "lost") });
    socket.say({
      type: "room_joined",
      roomId: "lobby",
      participants: 1,
      members: [member("me", { role: "owner" })],
      epoch: "e2",
      seq: 1,
      recovered: false,
      messages: [entry(1, "kept")],
      activeStreams: [],
      role: "owner",
      settings: {},
    });
    expect(room.log.map((one) => one.text)).toEqual(["kept"]);
    expect(room.participants).toBe(1);
    expect(room.cursor).toEqual({ epoch: "e2", seq: 1 });
  });
});

describe("running a room", () => {
  it("sends each request about the room and takes its reply", async () => {
    const room = await enter();
    const cases: [Promise<unknown>, string, object, object][] = [
      [room.update({ locked: true }), "update_room", { settings: { locked: true } }, { type: "room_updated" }],
      [room.setRole("bob", "viewer"), "set_role", { userId: "bob", role: "viewer" }, { type: "room_role" }],
      [room.kick("bob"), "kick", { userId: "bob" }, { type: "room_user_left" }],
      [room.ban("bob"), "ban", { userId: "bob" }, { type: "room_role" }],
      [room.unban("bob"), "unban", { userId: "bob" }, { type: "room_role" }],
    ];
    for (const [done, type, fields, reply] of cases) {
      const asked: Frame = socket.asked(type);
      expect(asked).toMatchObject({ roomId: "lobby", ...fields });
      socket.say({ ...reply, roomId: "lobby", requestId: asked.requestId, userId: "eve", clientId: "c-eve" });
      await done;
    }
    const inviting = room.invite({ role: "viewer" });
    const { requestId } = socket.asked("create_invite");
    socket.say({ type: "room_invite", requestId, roomId: "lobby", invite: "secret" });
    expect(await inviting).toBe("secret");
  });

  it("knows roles, its own too, and each member's state", async () => {
    const room = await enter();
    socket.say({ type: "room_role", roomId: "lobby", userId: "bob", role: "moderator", by: "me" });
    socket.say({ type: "room_role", roomId: "lobby", userId: "me", role: "viewer", by: "bob" });
    socket.say({ type: "room_presence", roomId: "lobby", member: member("bob", { state: { typing: true } }) });
    expect(room.role).toBe("viewer");
    expect(room.members.map(({ userId }) => userId)).toEqual(["me", "bob"]);
    expect(room.members[1]?.state).toEqual({ typing: true });
  });

  it("is out when this client is thrown out, and only then", async () => {
    const room = await enter();
    const left = vi.fn();
    room.on("left", left);
    const thrown = { type: "room_user_left", roomId: "lobby", participants: 1, reason: "kicked" };
    socket.say({ ...thrown, userId: "bob", clientId: "c-bob" });
    expect(left).not.toHaveBeenCalled();
    socket.say({ ...thrown, userId: "me", clientId: "c-me" });
    expect(left).toHaveBeenCalledOnce();
  });
});

describe("closing the client", () => {
  it("leaves its rooms first, so that nobody waits for it to come back", async () => {
    const room = await enter();
    const left = vi.fn();
    room.on("left", left);
    client.close();
    expect(socket.asked("leave_room")).toMatchObject({ roomId: "lobby" });
    expect(socket.closedWith).toBe(1000);
    expect(left).toHaveBeenCalledExactlyOnceWith(null);
  });
});

describe("coming back", () => {
  it("enters as before where the server knows this client no more, until it is let in", async () => {
    const room = await enter({ name: "Ann", invite: "secret" });
    const left = vi.fn();
    room.on("left", left);
    room.setPresence({ away: true }).catch(() => undefined);
    const again = { name: "Ann", invite: "secret", state: { away: true }, lastSeq: { epoch: "e", seq: 3 } };
    await comeBack(expired);
    expect(socket.asked("join_room")).toMatchObject(again);
    await comeBack(expired);
    expect(socket.asked("join_room")).toMatchObject(again);
    socket.say({ type: "error", requestId: socket.asked("join_room").requestId, code: "forbidden", error: "no", retryable: false });
    await settle();
    expect(left).toHaveBeenCalledExactlyOnceWith(expect.objectContaining({ type: "error", code: "forbidden" }));
  });

  it("is out of a room that the resumed client is not in any more", async () => {
    const room = await enter();
    const left = vi.fn();
    room.on("left", left);
    const resumed = { type: "resumed", clientId: "c-me", resumeToken: "t9", streams: [] };
    await comeBack({ ...resumed, rooms: [joined] });
    expect(left).not.toHaveBeenCalled();
    await comeBack({ ...resumed, rooms: [] });
    expect(left).toHaveBeenCalledExactlyOnceWith(null);
  });
});
