import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type Client, connect } from "../src/client.js";
import { ServerError } from "../src/errors.js";
import { settle, TestSocket } from "./socket.js";

let client: Client;
let socket: TestSocket;

beforeEach(async () => {
  vi.useFakeTimers();
  TestSocket.opened = [];
  client = connect("ws://server/ws", { WebSocket: TestSocket, random: () => 1 });
  socket = TestSocket.last;
  socket.greet();
  await settle();
});

afterEach(() => {
  client.close();
  vi.useRealTimers();
});

function start(streamId = "s") {
  const stream = client.stream({ prompt: "x" });
  const { requestId } = socket.asked("stream");
  socket.say({ type: "stream_start", requestId, streamId, model: "m" });
  return stream;
}

function piece(token: string, offset: number, position = 1) {
  return { type: "stream_token", streamId: "s", token, offset, position, count: 1 };
}

const complete = (offset: number) => ({
  type: "stream_complete",
  streamId: "s",
  totalTokens: 2,
  finishReason: "stop",
  offset,
});

/** The connection drops and the next one is greeted and asked to resume. */
async function comeBack(): Promise<TestSocket> {
  socket.drop();
  await vi.advanceTimersByTimeAsync(500);
  TestSocket.last.greet();
  await settle();
  return TestSocket.last;
}

describe("an answer", () => {
  it("yields its pieces and ends", async () => {
    const stream = start();
    expect(stream.streamId).toBe("s");
    const seen: string[] = [];
    const reading = (async () => {
      for await (const text of stream) seen.push(text);
    })();
    socket.say(piece("Hé", 3));
    await settle();
    socket.say(piece("llo", 6, 2));
    socket.say(complete(6));
    await reading;
    expect(seen).toEqual(["Hé", "llo"]);
    expect(stream.text).toBe("Héllo");
    expect((await stream.done).type).toBe("stream_complete");
    expect(stream.tokens).toBe(2);
  });

  it("gives a reader who comes late everything in one piece", async () => {
    const stream = start();
    socket.say(piece("a", 1));
    socket.say(piece("b", 2));
    socket.say(complete(2));
    const seen: string[] = [];
    for await (const text of stream) seen.push(text);
    expect(seen).toEqual(["ab"]);
  });

  it("throws to its reader when it failed, with the text it had, and done still settles", async () => {
    const stream = start();
    socket.say(piece("a", 1));
    socket.say({ type: "stream_error", streamId: "s", code: "generation_failed", error: "no", retryable: true, offset: 1 });
    const seen: string[] = [];
    const reading = (async () => {
      for await (const text of stream) seen.push(text);
    })();
    await expect(reading).rejects.toBeInstanceOf(ServerError);
    expect(seen).toEqual(["a"]);
    expect(await stream.done).toMatchObject({ type: "stream_error", code: "generation_failed" });
  });

  it("shows where it stands in line until its text comes", () => {
    const stream = start();
    socket.say({ type: "queue_position", streamId: "s", position: 2 });
    expect(stream.queuePosition).toBe(2);
    socket.say(piece("a", 1));
    expect(stream.queuePosition).toBeNull();
    expect(stream.state).toBe("running");
  });

  it("stops by its id and ends with the server's word only", async () => {
    const stream = start();
    stream.stop();
    stream.stop();
    expect(socket.count("stop_stream")).toBe(1);
    expect(socket.asked("stop_stream")).toMatchObject({ streamId: "s" });
    expect(stream.stopping).toBe(true);
    socket.say(piece("late", 4));
    socket.say({ type: "stream_stopped", streamId: "s", totalTokens: 1, offset: 4, reason: "client" });
    expect(await stream.done).toMatchObject({ type: "stream_stopped" });
    expect(stream.text).toBe("late");
    expect(stream.stopping).toBe(false);
  });

  it("stops by its requestId before the server named it", async () => {
    const stream = client.stream({ prompt: "x" });
    stream.stop();
    const { requestId } = socket.asked("stream");
    expect(socket.asked("stop_stream")).toEqual({ type: "stop_stream", requestId });
    // The stop overtook the stream's end: its error must not end the stream.
    socket.say({ type: "error", requestId, code: "stream_not_found", error: "?", retryable: false });
    expect(stream.end).toBeNull();
  });

  it("never goes out when it is stopped while there is no connection", async () => {
    socket.drop();
    const stream = client.stream({ prompt: "x" });
    stream.stop();
    expect(await stream.done).toMatchObject({ type: "stream_stopped", reason: "client" });
    await vi.advanceTimersByTimeAsync(500);
    TestSocket.last.greet({ capabilities: { resume: false } });
    await settle();
    expect(TestSocket.last.count("stream")).toBe(0);
  });

  it("ends when it is refused, also by a plain error", async () => {
    const stream = client.stream({ prompt: "x" });
    const { requestId } = socket.asked("stream");
    socket.say({ type: "error", requestId, code: "rate_limited", error: "slow", retryable: true });
    expect(await stream.done).toMatchObject({ type: "stream_error", code: "rate_limited" });
  });

  it("asks once for what is missing and takes the snapshot", () => {
    const stream = start();
    socket.say(piece("a", 1));
    socket.say(piece("c", 3));
    socket.say(piece("d", 4));
    expect(socket.count("watch_stream")).toBe(1);
    const watch = socket.asked("watch_stream");
    expect(watch).toMatchObject({ streamId: "s", fromOffset: 1 });
    socket.say({ type: "stream_snapshot", requestId: watch.requestId, streamId: "s", text: "bcd", fromOffset: 1, offset: 4, position: 4, state: "running" });
    socket.say(piece("e", 5));
    expect(stream.text).toBe("abcde");
  });

  it("does not end before its last text is there", async () => {
    const stream = start();
    socket.say(piece("a", 1));
    socket.say(complete(3));
    expect(stream.end).toBeNull();
    const watch = socket.asked("watch_stream");
    socket.say({ type: "stream_snapshot", requestId: watch.requestId, streamId: "s", text: "bc", fromOffset: 1, offset: 3, position: 3, state: "ended" });
    expect((await stream.done).type).toBe("stream_complete");
    expect(stream.text).toBe("abc");
  });

  it("has no more text than its end says", async () => {
    const stream = start();
    socket.say(piece("abc", 3));
    socket.say({ type: "stream_stopped", streamId: "s", totalTokens: 1, offset: 2, reason: "shutdown" });
    await stream.done;
    expect(stream.text).toBe("ab");
  });

  it("drops text past a rewind", () => {
    const stream = start();
    socket.say(piece("äbc", 4));
    socket.say({ type: "stream_rewind", streamId: "s", offset: 2 });
    expect(stream.text).toBe("ä");
    socket.say(piece("x", 3));
    expect(stream.text).toBe("äx");
  });
});

describe("after a drop", () => {
  it("resumes at its byte and goes on without a seam", async () => {
    const stream = start();
    socket.say(piece("né", 3));
    const next = await comeBack();
    const resume = next.asked("resume");
    expect(resume).toMatchObject({ resumeToken: "t1", streams: { s: 3 } });
    next.say({ type: "resumed", requestId: resume.requestId, clientId: "c1", resumeToken: "t3", streams: [{ streamId: "s", state: "running", offset: 5 }], rooms: [] });
    next.say({ type: "stream_snapshot", streamId: "s", text: "wx", fromOffset: 3, offset: 5, position: 2, state: "running" });
    next.say(piece("y", 6));
    next.say(complete(6));
    await settle();
    expect(stream.text).toBe("néwxy");
    expect((await stream.done).type).toBe("stream_complete");
    expect(client.resumeToken).toBe("t3");
  });

  it("watches on as itself where resume is refused, and fails what is gone", async () => {
    const stream = start();
    socket.say(piece("a", 1));
    const next = await comeBack();
    next.say({ type: "error", requestId: next.asked("resume").requestId, code: "resume_expired", error: "late", retryable: false });
    await settle();
    const watch = next.asked("watch_stream");
    expect(watch).toMatchObject({ streamId: "s", fromOffset: 1 });
    next.say({ type: "error", requestId: watch.requestId, code: "stream_not_found", error: "gone", retryable: false });
    expect(await stream.done).toMatchObject({ type: "stream_error", code: "stream_not_found" });
    expect(stream.text).toBe("a");
  });

  it("repeats under the same id what it saw no beginning of", async () => {
    const stream = client.stream({ prompt: "x" });
    const { requestId } = socket.asked("stream");
    const next = await comeBack();
    next.say({ type: "resumed", requestId: next.asked("resume").requestId, clientId: "c1", resumeToken: "t3", streams: [], rooms: [] });
    await settle();
    expect(next.asked("stream")).toMatchObject({ requestId, prompt: "x" });
    next.say({ type: "stream_start", requestId, streamId: "s" });
    next.say(piece("a", 1));
    expect(stream.text).toBe("a");
  });

  it("finds an answer by its requestId that began while it was away", async () => {
    const stream = client.stream({ prompt: "x" });
    const { requestId } = socket.asked("stream");
    const next = await comeBack();
    next.say({ type: "resumed", requestId: next.asked("resume").requestId, clientId: "c1", resumeToken: "t3", streams: [{ streamId: "s", requestId, state: "running", offset: 2 }], rooms: [] });
    await settle();
    expect(next.count("stream")).toBe(0);
    const watch = next.asked("watch_stream");
    next.say({ type: "stream_snapshot", requestId: watch.requestId, streamId: "s", text: "ab", fromOffset: 0, offset: 2, position: 2, state: "running" });
    expect(stream.text).toBe("ab");
  });

  it("asks again for a stop whose connection was lost", async () => {
    const stream = start();
    stream.stop();
    const next = await comeBack();
    next.say({ type: "resumed", requestId: next.asked("resume").requestId, clientId: "c1", resumeToken: "t3", streams: [{ streamId: "s", state: "running", offset: 0 }], rooms: [] });
    await settle();
    expect(next.asked("stop_stream")).toMatchObject({ streamId: "s" });
  });

  it("fails at once where the server can't resume, and keeps the text", async () => {
    client.close();
    client = connect("ws://server/ws", { WebSocket: TestSocket, random: () => 1 });
    socket = TestSocket.last;
    socket.greet({ capabilities: { resume: false } });
    await settle();
    const stream = start();
    socket.say(piece("a", 1));
    socket.drop();
    expect(await stream.done).toMatchObject({ type: "stream_error", code: "connection_lost", retryable: true });
    expect(stream.text).toBe("a");
  });

  it("keeps the old token when the answer to resume was lost", async () => {
    start();
    const next = await comeBack();
    expect(next.asked("resume")["resumeToken"]).toBe("t1");
    next.drop();
    await vi.advanceTimersByTimeAsync(1000);
    TestSocket.last.greet();
    await settle();
    expect(TestSocket.last.asked("resume")["resumeToken"]).toBe("t1");
  });
});

describe("watching", () => {
  it("follows an answer that was asked for elsewhere", async () => {
    const stream = client.watchStream("s");
    const watch = socket.asked("watch_stream");
    expect(watch).toMatchObject({ streamId: "s", fromOffset: 0 });
    socket.say({ type: "stream_snapshot", requestId: watch.requestId, streamId: "s", text: "ab", fromOffset: 0, offset: 2, position: 2, state: "running", model: "m", messageId: "msg" });
    socket.say(piece("c", 3));
    socket.say(complete(3));
    expect(stream.text).toBe("abc");
    expect([stream.model, stream.messageId]).toEqual(["m", "msg"]);
    expect((await stream.done).type).toBe("stream_complete");
  });
});

describe("watching on", () => {
  it("asks only for what is not known, and gives the same object twice", () => {
    const stream = client.watchStream("s", "né");
    const watch = socket.asked("watch_stream");
    expect(watch).toMatchObject({ streamId: "s", fromOffset: 3 });
    socket.say({ type: "stream_snapshot", requestId: watch.requestId, streamId: "s", text: "w", fromOffset: 3, offset: 4, position: 2, state: "running" });
    expect(stream.text).toBe("néw");
    expect(client.watchStream("s")).toBe(stream);
    expect(socket.count("watch_stream")).toBe(1);
  });

  it("keeps what is known when the server has nothing", async () => {
    const stream = client.watchStream("s", "né");
    const { requestId } = socket.asked("watch_stream");
    socket.say({ type: "error", requestId, code: "stream_not_found", error: "gone", retryable: false });
    expect(await stream.done).toMatchObject({ type: "stream_error", code: "stream_not_found" });
    expect(stream.text).toBe("né");
  });
});

describe("rooms", () => {
  it("keeps one log without doubles and shows others' answers", async () => {
    const joining = client.joinRoom("r", { name: "Ann" });
    const { requestId } = socket.asked("join_room");
    const entry = (seq: number, text: string) => ({ seq, text, messageId: `m${seq}`, role: "user", timestamp: 1 });
    const joined = { type: "room_joined", roomId: "r", participants: 1, members: [], epoch: "e", seq: 1, recovered: false, messages: [entry(1, "one")], activeStreams: [], role: "owner" };
    socket.say({ ...joined, requestId });
    const room = await joining;
    const texts: string[] = [];
    room.on("stream", (stream) => stream.on("text", (text) => texts.push(text)));
    socket.say({ type: "room_message", roomId: "r", ...entry(2, "two") });
    socket.say({ type: "room_message", roomId: "r", ...entry(2, "two") });
    socket.say({ type: "stream_start", streamId: "s", roomId: "r", clientId: "other", seq: 3 });
    socket.say(piece("hi", 2));
    expect(texts).toEqual(["hi"]);
    expect(room.log.map(({ text }) => text)).toEqual(["one", "two"]);
    expect(room.cursor).toEqual({ epoch: "e", seq: 3 });
    socket.drop();
    await vi.advanceTimersByTimeAsync(500);
    TestSocket.last.greet();
    await settle();
    expect(TestSocket.last.asked("resume")["rooms"]).toEqual({ r: { epoch: "e", seq: 3 } });
  });
});
