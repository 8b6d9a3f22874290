/** The golden messages that the server's own tests read, too. */

import { readFileSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { connect } from "../src/client.js";
import { TextCursor } from "../src/cursor.js";
import type { Frame } from "../src/messages.js";
import { AnswerStream } from "../src/stream.js";
import { settle, TestSocket } from "./socket.js";

interface Rule {
  have: number;
  offset: number;
  length: number;
  verdict: "take" | "drop" | "gap";
  skip?: number;
}

interface Step {
  event?: Frame;
  end?: { offset: number };
  text: string;
  have: number;
  ask: number | null;
}

interface Vectors {
  rule: Rule[];
  stories: { name: string; steps: Step[] }[];
  vectors: { type: string; name: string; json: Frame }[];
}

function read(name: string): Vectors {
  const file = new URL(`../../../protocol/vectors/${name}.json`, import.meta.url);
  return JSON.parse(readFileSync(file, "utf8")) as Vectors;
}

/** The fields of each request, from the protocol's JSON Schema. */
function requestFields(): Map<string, string[]> {
  const file = new URL("../../../protocol/schema.json", import.meta.url);
  const { $defs } = JSON.parse(readFileSync(file, "utf8")) as {
    $defs: Record<string, { properties?: Record<string, { const?: string }> }>;
  };
  const known = new Map<string, string[]>();
  for (const { properties = {} } of Object.values($defs)) {
    const type = properties["type"]?.const;
    if (type) known.set(type, Object.keys(properties));
  }
  return known;
}

describe("the cursor rule", () => {
  it.each(read("merge").rule)("have $have, piece of $length up to $offset: $verdict", (rule) => {
    const cursor = new TextCursor();
    cursor.merge("h".repeat(rule.have), rule.have);
    const piece = "0123456789abcdefghijklmnopqrstuvwxyz".slice(0, rule.length);
    const merge = cursor.merge(piece, rule.offset);
    const kinds = { append: "take", known: "drop", gap: "gap" };
    expect(kinds[merge.kind]).toBe(rule.verdict);
    if (merge.kind === "append") expect(merge.text).toBe(piece.slice(rule.skip));
  });

  it.each(read("merge").stories)("story: $name", ({ steps }) => {
    const asked: number[] = [];
    const port = { watch: (_: AnswerStream, from: number) => void asked.push(from), stop: vi.fn() };
    const stream = new AnswerStream(port, { requestId: null, streamId: "s" });
    for (const step of steps) {
      asked.length = 0;
      if (step.event) stream.receive(step.event);
      if (step.end) stream.receive({ type: "stream_complete", streamId: "s", totalTokens: 1, ...step.end });
      expect(stream.text).toBe(step.text);
      expect(stream.offset).toBe(step.have);
      expect(asked).toEqual(step.ask === null ? [] : [step.ask]);
    }
  });
});

describe("messages", () => {
  beforeEach(() => {
    vi.useFakeTimers();
    TestSocket.opened = [];
  });

  afterEach(() => {
    vi.useRealTimers();
  });

  it("of the server are all taken without harm", async () => {
    const client = connect("ws://server/ws", { WebSocket: TestSocket });
    TestSocket.last.greet();
    await settle();
    for (const { json } of read("events").vectors) {
      if (json.type !== "connected") TestSocket.last.say({ ...json });
    }
    expect(client.status.state).toBe("connected");
    client.close();
  });

  it("of this client have the fields of the protocol and no others", async () => {
    const known = requestFields();
    const client = connect("ws://server/ws", { WebSocket: TestSocket, credentials: { userId: "u", name: "n" } });
    const socket = TestSocket.last;
    socket.greet();
    await settle();
    socket.say({ type: "authenticated", requestId: socket.asked("authenticate").requestId });
    await settle();
    const options = { maxTokens: 1 };
    const waiting = [
      client.generate({ prompt: "p", options, model: "m" }),
      client.batch({ prompts: ["p"], options, model: "m" }),
      client.models(),
      client.loadModel({ source: "s", format: "f", immediate: true, id: "i", options: {} }),
      client.unloadModel("i", { force: true }),
      client.countTokens({ text: "t", model: "m" }),
      client.interrupt(),
      client.getStatus(),
      client.joinRoom("r", { name: "n", state: {}, invite: "i" }),
      client.listRooms(),
      client.unwatchStream("s"),
      client.sessions.open({ title: "t", systemPrompt: "s", model: "m", metadata: {} }),
      client.sessions.list({ cursor: "c", limit: 1, query: "q" }),
      client.sessions.history("s", { before: "m", limit: 1, branch: "b" }),
      client.sessions.update("s", { title: "t" }),
      client.sessions.clear("s"),
      client.sessions.fork("s", "m"),
      client.sessions.delete("s"),
      client.sessions.export("s", "markdown"),
    ];
    for (const request of waiting) request.catch(() => undefined);
    client.stream({ prompt: "p", model: "m", sessionId: "s", system: "s", options, parentId: "m", raw: true });
    client.stream({ messages: [], roomId: "r", regenerate: "m" });
    client.continue({ streamId: "s", sessionId: "s", options });
    client.watchStream("w", "abc");
    const sent = socket.sent.filter(({ type }) => type !== "ping");
    expect(sent.length).toBeGreaterThan(20);
    for (const { type, ...fields } of sent) {
      expect(known.has(type), type).toBe(true);
      for (const field of Object.keys(fields)) {
        expect(known.get(type), `${type}.${field}`).toContain(field);
      }
    }
    client.close();
  });
});
