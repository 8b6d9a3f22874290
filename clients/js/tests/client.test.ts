import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type Client, connect } from "../src/client.js";
import { ConnectionLostError, RequestTimeoutError, ServerError } from "../src/errors.js";
import type { ClientOptions } from "../src/options.js";
import { settle, TestSocket } from "./socket.js";

let client: Client;
let wake: () => void = () => undefined;

function open(options: ClientOptions = {}): TestSocket {
  client = connect("ws://server/ws", {
    WebSocket: TestSocket,
    random: () => 1,
    onWake: (woken) => {
      wake = woken;
      return () => undefined;
    },
    ...options,
  });
  return TestSocket.last;
}

async function openReady(options: ClientOptions = {}, greeting = {}): Promise<TestSocket> {
  const socket = open(options);
  socket.greet(greeting);
  await settle();
  return socket;
}

beforeEach(() => {
  vi.useFakeTimers();
  TestSocket.opened = [];
});

afterEach(() => {
  client.close();
  vi.useRealTimers();
});

describe("requests", () => {
  it("gives each reply to the request with its id, in any order", async () => {
    const socket = await openReady();
    const first = client.countTokens({ text: "a" });
    const second = client.countTokens({ text: "b" });
    const [one, two] = socket.sent.filter(({ type }) => type === "count_tokens");
    socket.say({ type: "token_count", requestId: two?.requestId, tokens: 2 });
    socket.say({ type: "token_count", requestId: one?.requestId, tokens: 1 });
    expect(await first).toBe(1);
    expect(await second).toBe(2);
  });

  it("rejects with the server's error, its code and its fields", async () => {
    const socket = await openReady();
    const models = client.models();
    const { requestId } = socket.asked("models");
    const details = [{ field: "x", message: "bad" }];
    socket.say({ type: "error", requestId, code: "rate_limited", error: "slow", retryable: true, retryAfter: 9, details });
    const error = await models.catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(ServerError);
    expect(error).toMatchObject({ code: "rate_limited", retryable: true, retryAfter: 9, details });
  });

  it("leaves nothing behind when it is answered", async () => {
    const socket = await openReady();
    const timers = vi.getTimerCount();
    const models = client.models();
    expect(vi.getTimerCount()).toBe(timers + 1);
    socket.say({ type: "models_list", requestId: socket.asked("models").requestId, models: [] });
    await models;
    expect(vi.getTimerCount()).toBe(timers);
  });

  it("rejects after its timeout and drops the late answer", async () => {
    const socket = await openReady({ requestTimeout: 1000 });
    const models = client.models();
    const rejected = expect(models).rejects.toBeInstanceOf(RequestTimeoutError);
    await vi.advanceTimersByTimeAsync(1000);
    await rejected;
    socket.say({ type: "models_list", requestId: socket.asked("models").requestId, models: [] });
  });

  it("rejects what was sent when the connection goes", async () => {
    const socket = await openReady();
    const models = client.models();
    socket.drop();
    await expect(models).rejects.toBeInstanceOf(ConnectionLostError);
  });

  it("keeps what was not sent yet until there is a connection", async () => {
    const socket = open();
    const models = client.models();
    expect(socket.count("models")).toBe(0);
    socket.greet();
    await settle();
    socket.say({ type: "models_list", requestId: socket.asked("models").requestId, models: [] });
    expect(await models).toEqual([]);
  });

  it("repeats a generate under the same id on the resumed connection", async () => {
    const socket = await openReady();
    const result = client.generate({ prompt: "hi" });
    const { requestId } = socket.asked("generate");
    socket.drop();
    await vi.advanceTimersByTimeAsync(500);
    const next = TestSocket.last;
    next.greet();
    await settle();
    const resume = next.asked("resume");
    next.say({ type: "resumed", requestId: resume.requestId, clientId: "c1", resumeToken: "t9", streams: [], rooms: [] });
    await settle();
    expect(next.asked("generate")).toMatchObject({ requestId, prompt: "hi" });
    next.say({ type: "generation_complete", requestId, result: { text: "ho" } });
    expect(await result).toMatchObject({ text: "ho" });
  });

  it("does not repeat it as somebody else", async () => {
    const socket = await openReady();
    const result = client.generate({ prompt: "hi" });
    const rejected = expect(result).rejects.toBeInstanceOf(ConnectionLostError);
    socket.drop();
    await vi.advanceTimersByTimeAsync(500);
    const next = TestSocket.last;
    next.greet();
    await settle();
    const { requestId } = next.asked("resume");
    next.say({ type: "error", requestId, code: "resume_expired", error: "too late", retryable: false });
    await rejected;
    expect(next.count("generate")).toBe(0);
  });

  it("refuses a message over the server's limit without sending it", async () => {
    const socket = await openReady({}, { limits: { maxMessageBytes: 300 } });
    await expect(client.countTokens({ text: "ü".repeat(120) })).rejects.toMatchObject({
      code: "payload_too_large",
    });
    expect(socket.count("count_tokens")).toBe(0);
    const end = await client.stream({ prompt: "x".repeat(300) }).done;
    expect(end).toMatchObject({ type: "stream_error", code: "payload_too_large" });
  });

  it("returns a batch in order, each item once", async () => {
    const socket = await openReady();
    const seen: number[] = [];
    const batch = client.batch({ prompts: ["a", "b"] }, { onItem: ({ index }) => seen.push(index) });
    const { requestId } = socket.asked("batch");
    const ids = { requestId, batchId: "b" };
    socket.say({ type: "batch_start", ...ids, total: 2 });
    socket.say({ type: "batch_item", ...ids, index: 1, result: { text: "B" } });
    socket.say({ type: "batch_item", ...ids, index: 1, result: { text: "B" } });
    socket.say({ type: "batch_item", ...ids, index: 0, result: { text: "A" } });
    socket.say({ type: "batch_complete", ...ids, summary: { total: 2 } });
    const { items, summary } = await batch;
    expect(items.map((item) => item.result?.text)).toEqual(["A", "B"]);
    expect(summary.total).toBe(2);
    expect(seen).toEqual([1, 0]);
  });
});

describe("connection", () => {
  it("offers the JSON subprotocol", async () => {
    expect((await openReady()).protocols).toEqual(["wsserver.v1.json"]);
  });

  it("comes back after a drop, later after each failure, and soon again after a success", async () => {
    const socket = await openReady();
    socket.drop(1006);
    expect(client.status).toMatchObject({ state: "waiting" });
    await vi.advanceTimersByTimeAsync(499);
    expect(TestSocket.opened).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(1);
    expect(TestSocket.opened).toHaveLength(2);
    TestSocket.last.drop();
    await vi.advanceTimersByTimeAsync(999);
    expect(TestSocket.opened).toHaveLength(2);
    await vi.advanceTimersByTimeAsync(1);
    expect(TestSocket.opened).toHaveLength(3);
    TestSocket.last.greet({ capabilities: { resume: false } });
    await settle();
    expect(client.status.state).toBe("connected");
    TestSocket.last.drop();
    await vi.advanceTimersByTimeAsync(500);
    expect(TestSocket.opened).toHaveLength(4);
  });

  it.each([1000, 4501, 4503, 4507])("stays closed after %i", async (code) => {
    const socket = await openReady();
    socket.drop(code);
    expect(client.status).toMatchObject({ state: "closed", code });
    await vi.advanceTimersByTimeAsync(60_000);
    expect(TestSocket.opened).toHaveLength(1);
    await expect(client.models()).rejects.toBeInstanceOf(ConnectionLostError);
  });

  it("does not come back after its own close, and rejects what is pending", async () => {
    const socket = await openReady();
    const models = client.models();
    const stream = client.stream({ prompt: "x" });
    client.close();
    await expect(models).rejects.toBeInstanceOf(ConnectionLostError);
    expect(await stream.done).toMatchObject({ code: "connection_lost" });
    expect(socket.closedWith).toBe(1000);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(TestSocket.opened).toHaveLength(1);
  });

  it("returns in the window that a draining server gave", async () => {
    const socket = await openReady();
    socket.say({ type: "server_draining", reconnectAfter: 2000, spread: 3000, deadline: 9000 });
    expect(client.status).toEqual({ state: "connected", draining: true });
    await vi.advanceTimersByTimeAsync(1000);
    socket.drop(1001);
    expect(client.status).toMatchObject({ state: "waiting", draining: true });
    wake();
    await vi.advanceTimersByTimeAsync(3999);
    expect(TestSocket.opened).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(1);
    expect(TestSocket.opened).toHaveLength(2);
  });

  it("gives a server up that does not greet in time", async () => {
    open();
    await vi.advanceTimersByTimeAsync(10_000);
    expect(client.status.state).toBe("waiting");
  });

  it("pings each heartbeat and takes one and a half of it without a frame for a drop", async () => {
    const socket = await openReady();
    await vi.advanceTimersByTimeAsync(20_000);
    expect(socket.count("ping")).toBe(1);
    socket.say({ type: "pong", timestamp: 1 });
    await vi.advanceTimersByTimeAsync(20_000);
    expect(socket.count("ping")).toBe(2);
    await vi.advanceTimersByTimeAsync(9_999);
    expect(client.status.state).toBe("connected");
    await vi.advanceTimersByTimeAsync(1);
    expect(client.status.state).toBe("waiting");
  });

  it("comes back at once when the page wakes up", async () => {
    const socket = await openReady();
    socket.drop();
    wake();
    expect(TestSocket.opened).toHaveLength(2);
  });

  it("asks a connection that slept whether it still lives", async () => {
    const socket = await openReady();
    await vi.advanceTimersByTimeAsync(5);
    wake();
    expect(socket.count("ping")).toBe(1);
    await vi.advanceTimersByTimeAsync(5000);
    expect(client.status.state).toBe("waiting");
  });

  it("shows its credentials on each connection, before anything else", async () => {
    let asked = 0;
    const socket = open({ credentials: () => ({ token: `proof-${++asked}` }) });
    const models = client.models();
    models.catch(() => undefined);
    socket.greet({ authRequired: true });
    await settle();
    expect(socket.sent.map(({ type }) => type)).toEqual(["authenticate"]);
    expect(socket.asked("authenticate")["token"]).toBe("proof-1");
    socket.say({ type: "authenticated", requestId: socket.asked("authenticate").requestId, userId: "u" });
    await settle();
    expect(socket.count("models")).toBe(1);
    socket.drop(4004);
    await vi.advanceTimersByTimeAsync(500);
    TestSocket.last.greet({ authRequired: true });
    await settle();
    expect(TestSocket.last.asked("authenticate")["token"]).toBe("proof-2");
  });

  it("comes back with the same token where the store is away for a moment", async () => {
    const away = { code: "store_unavailable", error: "away", retryable: true, retryAfter: 2000 };
    const socket = await openReady({ credentials: { userId: "ada" } });
    socket.say({ type: "authenticated", requestId: socket.asked("authenticate").requestId, userId: "ada" });
    await settle();
    socket.drop();
    await vi.advanceTimersByTimeAsync(500);
    const unnamed = TestSocket.last;
    unnamed.greet({ resumeToken: "t2" });
    await settle();
    unnamed.say({ type: "error", requestId: unnamed.asked("authenticate").requestId, ...away });
    await settle();
    expect(client.status.state).toBe("waiting");
    await vi.advanceTimersByTimeAsync(1000);
    const unknown = TestSocket.last;
    unknown.greet({ resumeToken: "t3" });
    await settle();
    unknown.say({ type: "authenticated", requestId: unknown.asked("authenticate").requestId, userId: "ada" });
    await settle();
    const first = unknown.asked("resume");
    unknown.say({ type: "error", requestId: first.requestId, ...away });
    await settle();
    expect(client.status.state).toBe("waiting");
    await vi.advanceTimersByTimeAsync(2000);
    const again = TestSocket.last;
    again.greet({ resumeToken: "t4" });
    await settle();
    again.say({ type: "authenticated", requestId: again.asked("authenticate").requestId, userId: "ada" });
    await settle();
    expect(again.asked("resume").resumeToken).toBe(first.resumeToken);
    expect(client.refused).toBeNull();
  });

  it("stops with the reason when a key is needed and there is none, or it is refused", async () => {
    const socket = open();
    socket.greet({ authRequired: true });
    await settle();
    expect(client.status).toMatchObject({ state: "closed", code: 4501 });
    expect(client.refused?.code).toBe("unauthorized");
  });

  it("tries again where its credentials can't be had just now", async () => {
    let asked = 0;
    const credentials = async () => {
      if (++asked === 1) throw new Error("the issuer of tokens is away");
      return { token: "proof" };
    };
    const socket = await openReady({ credentials }, { authRequired: true });
    expect(socket.sent).toEqual([]);
    expect(client.status).toMatchObject({ state: "waiting", reason: "the issuer of tokens is away" });
    await vi.advanceTimersByTimeAsync(500);
    TestSocket.last.greet({ authRequired: true });
    await settle();
    expect(TestSocket.last.asked("authenticate")["token"]).toBe("proof");
    expect(client.refused).toBeNull();
  });

  it("leaves the next connection alone when credentials come late to the one before", async () => {
    const answers: ((proof: { token: string }) => void)[] = [];
    const failures: ((error: Error) => void)[] = [];
    const credentials = () =>
      new Promise<{ token: string }>((resolve, reject) => {
        answers.push(resolve);
        failures.push(reject);
      });
    const socket = await openReady({ credentials });
    socket.drop();
    await vi.advanceTimersByTimeAsync(500);
    failures[0]?.(new Error("too slow"));
    await settle();
    expect(client.status.state).toBe("connecting");
    const next = TestSocket.last;
    next.greet();
    await settle();
    next.drop();
    answers[1]?.({ token: "late" });
    await settle();
    expect([...socket.sent, ...next.sent]).toEqual([]);
  });

  it("waits for a slow resume as long as the connection may take", async () => {
    const socket = await openReady({ connectTimeout: 30_000 });
    socket.drop();
    await vi.advanceTimersByTimeAsync(500);
    const next = TestSocket.last;
    next.greet();
    await vi.advanceTimersByTimeAsync(20_000);
    expect(client.status.state).toBe("connecting");
    await vi.advanceTimersByTimeAsync(10_000);
    expect(client.status.state).toBe("waiting");
  });

  it("goes on without a name where the server takes none", async () => {
    const socket = await openReady({ credentials: { userId: "me" } });
    const { requestId } = socket.asked("authenticate");
    socket.say({ type: "error", requestId, code: "unknown_type", error: "?", retryable: false });
    await settle();
    expect(client.status.state).toBe("connected");
  });
});
