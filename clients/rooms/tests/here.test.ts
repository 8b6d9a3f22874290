import { beforeEach, describe, expect, it, vi } from "vitest";
import type { Frame } from "@wsserver/client";
import { settle, TestSocket } from "../../js/tests/socket.js";

type Here = typeof import("../src/state/here.js");
type Talking = typeof import("../src/state/talking.js");
type Connection = typeof import("@wsserver/shared/state/connection.js");

let here: Here;
let talking: Talking;
let connection: Connection;

const entry = (seq: number, text: string, more: object = {}) => ({
  seq,
  messageId: `m${seq}`,
  role: "user",
  clientId: "c-bob",
  userId: "bob",
  name: "Bob",
  text,
  timestamp: seq,
  ...more,
});

const joined = (messages: object[], more: object = {}) => ({
  type: "room_joined",
  roomId: "r",
  participants: 1,
  members: [],
  epoch: "e",
  seq: messages.length,
  recovered: false,
  messages,
  activeStreams: [],
  role: "owner",
  settings: {},
  ...more,
});

function answerTo(type: string, frame: object): void {
  TestSocket.last.say({ ...frame, requestId: TestSocket.last.asked(type).requestId });
}

async function greeted(): Promise<void> {
  TestSocket.last.greet();
  await settle();
  answerTo("authenticate", { type: "authenticated", userId: "me", clientId: "c-me", scopes: [] });
  await settle();
}

async function entered(): Promise<void> {
  const entering = here.enter("r", "Ada", "secret");
  await greeted();
  answerTo("join_room", joined([entry(1, "one")]));
  await entering;
}

const texts = () => here.room.value?.log.map(({ text }) => text);

beforeEach(async () => {
  vi.resetModules();
  vi.stubGlobal("WebSocket", TestSocket);
  TestSocket.opened = [];
  localStorage.clear();
  history.replaceState(null, "", "/apps/rooms/#invite=secret");
  here = await import("../src/state/here.js");
  talking = await import("../src/state/talking.js");
  connection = await import("@wsserver/shared/state/connection.js");
});

describe("entering", () => {
  it("says the name and the invite, and shows only the room in the address", async () => {
    await entered();
    expect(TestSocket.last.asked("join_room")).toMatchObject({ roomId: "r", name: "Ada", invite: "secret" });
    expect(texts()).toEqual(["one"]);
    expect(location.search + location.hash).toBe("?room=r");
    expect(TestSocket.last.asked("update_presence")["state"]).toEqual({ typing: false, away: false });
  });

  it("that is refused leads back to the list, and says why", async () => {
    const entering = here.enter("r", "Ada");
    await greeted();
    answerTo("join_room", { type: "error", code: "forbidden", error: "This room is locked.", retryable: false });
    await entering;
    expect(here.room.value).toBe(null);
    expect(here.refusal.value).toBe("This room is locked.");
  });

  it("is tried again when the connection breaks meanwhile", async () => {
    const entering = here.enter("r", "Ada");
    await greeted();
    TestSocket.last.drop();
    await entering;
    connection.client.reconnectNow();
    TestSocket.last.greet({ capabilities: { resume: false } });
    await settle();
    answerTo("authenticate", { type: "authenticated", userId: "me", clientId: "c-me", scopes: [] });
    await settle();
    answerTo("join_room", joined([entry(1, "one")]));
    await settle();
    expect(texts()).toEqual(["one"]);
    expect(here.present()).not.toBe(null);
  });
});

describe("a connection that was closed for good", () => {
  it("keeps the log on the screen, and the room is entered anew with the next one", async () => {
    await entered();
    TestSocket.last.drop(4506);
    expect(texts()).toEqual(["one"]);
    expect(here.present()).toBe(null);
    connection.client.reconnectNow();
    await greeted();
    const active = [{ streamId: "s", clientId: "c-bob", model: "m", state: "running", offset: 2 }];
    const room = joined([entry(1, "one"), entry(2, "asked", { streamId: "s" })], { activeStreams: active });
    answerTo("resume", { type: "resumed", clientId: "c-me", resumeToken: "t9", streams: [], rooms: [room] });
    TestSocket.last.say({ type: "stream_snapshot", roomId: "r", streamId: "s", text: "hi", fromOffset: 0, offset: 2, position: 1, state: "running" });
    await settle();
    answerTo("join_room", { ...room, recovered: true, messages: [] });
    await settle();
    expect(texts()).toEqual(["one", "asked"]);
    expect(here.answers.value.get("s")?.text).toBe("hi");
    expect(TestSocket.last.count("watch_stream")).toBe(0);
  });
});

describe("what the events do not tell", () => {
  it("is read from the log, once: a question too long for them", async () => {
    await entered();
    const start = { type: "stream_start", roomId: "r", streamId: "s", clientId: "c-2", userId: "u", name: "U", model: "m", seq: 2 };
    TestSocket.last.say(start);
    TestSocket.last.say({ type: "room_message", roomId: "r", ...entry(3, "three") });
    expect(TestSocket.last.count("room_history")).toBe(1);
    expect(TestSocket.last.asked("room_history")).toMatchObject({ before: 3, limit: 1 });
    answerTo("room_history", { type: "room_history", roomId: "r", hasMore: true, messages: [entry(2, "a long question", { streamId: "s" })] });
    expect(texts()).toEqual(["one", "a long question", "three"]);
    expect(here.room.value?.hasMore).toBe(false);
  });
});

describe("talking", () => {
  const sent = () => talking.outgoing.value.map(({ text, error }) => ({ text, error }));

  it("shows what is on its way until it stands in the log", async () => {
    await entered();
    talking.say("two");
    expect(sent()).toEqual([{ text: "two", error: null }]);
    answerTo("room_message", { type: "room_message", roomId: "r", ...entry(2, "two") });
    await settle();
    expect(sent()).toEqual([]);
    expect(texts()).toEqual(["one", "two"]);
  });

  it("shows why a question was refused, and asks it again", async () => {
    await entered();
    talking.ask("why?", "m");
    expect(TestSocket.last.asked("stream")).toMatchObject({ roomId: "r", prompt: "why?", model: "m" });
    answerTo("stream", { type: "stream_error", code: "overloaded", error: "The room is being answered.", retryable: true });
    await settle();
    expect(sent()).toEqual([{ text: "why?", error: "The room is being answered." }]);
    talking.outgoing.value[0]?.again();
    const { requestId }: Frame = TestSocket.last.asked("stream");
    TestSocket.last.say({ type: "stream_start", requestId, roomId: "r", streamId: "s", clientId: "c-me", model: "m", prompt: "why?", seq: 2 });
    expect(sent().map(({ error }) => error)).toEqual(["The room is being answered."]);
    expect(here.answers.value.get("s")?.streamId).toBe("s");
  });
});
