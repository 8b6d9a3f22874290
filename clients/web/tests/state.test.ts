import fc from "fast-check";
import { beforeEach, describe, expect, it } from "vitest";
import type { ChatMessage } from "@wsserver/client";
import { Answer, toOutcome } from "@wsserver/shared/state/answer.js";
import { BrowserChats } from "../src/state/chats.js";
import { fitContext } from "../src/state/fit.js";
import {
  fieldErrors,
  generationOptions,
  refusedFields,
  resetSettings,
  setSetting,
  settings,
  settingsOpen,
  showFieldErrors,
} from "../src/state/settings.js";
import { BrowserStorage } from "@wsserver/shared/state/storage.js";

beforeEach(() => {
  localStorage.clear();
  resetSettings();
  settingsOpen.value = false;
});

describe("settings", () => {
  it("send only what was set, zero included", () => {
    setSetting("temperature", "0");
    setSetting("seed", " 7 ");
    expect(generationOptions(settings.value)).toEqual({ temperature: 0, seed: 7 });
  });

  it("tell at once what is no number", () => {
    setSetting("temperature", "warm");
    setSetting("maxTokens", "1.5");
    expect(Object.keys(fieldErrors.value).sort()).toEqual(["maxTokens", "temperature"]);
  });

  it("show what the server refused beside its field, until that changes", () => {
    const others = showFieldErrors([
      { field: "options.max_tokens", message: "too many" },
      { field: "messages[0].content", message: "empty" },
    ]);
    expect(refusedFields.value).toEqual({ maxTokens: "too many" });
    expect(others).toEqual([{ field: "messages[0].content", message: "empty" }]);
    expect(settingsOpen.value).toBe(true);
    setSetting("maxTokens", "10");
    expect(fieldErrors.value).toEqual({});
  });
});

describe("BrowserChats", () => {
  const chats = () => new BrowserChats(new BrowserStorage(() => localStorage));
  const turn = (text: string) => ({ id: text, role: "user" as const, text });

  it("keeps chats over a reload, the newest first", async () => {
    const first = await chats().create({ title: "one", systemPrompt: "" });
    const second = await chats().create({ title: "two", systemPrompt: "" });
    chats().save(first, [turn("hello")]);
    expect((await chats().list()).map(({ id }) => id)).toEqual([first, second]);
    expect(await chats().load(first)).toEqual([turn("hello")]);
  });

  it("finds what a title or a turn has", async () => {
    const kept = chats();
    const first = await kept.create({ title: "What is a violin?", systemPrompt: "" });
    const second = await kept.create({ title: "Percussion", systemPrompt: "" });
    kept.save(second, [{ id: "1", role: "user", text: "What is a Drum?" }]);
    const found = async (query: string) => (await kept.list(query)).map(({ id }) => id);
    expect(await found("VIOLIN")).toEqual([first]);
    expect(await found("drum")).toEqual([second]);
    expect(await found("cello")).toEqual([]);
    await kept.rename(first, "Strings");
    expect(await found("violin")).toEqual([]);
    expect(await found("strings")).toEqual([first]);
  });

  it("forgets all of a removed chat", async () => {
    const id = await chats().create({ title: "one", systemPrompt: "" });
    chats().save(id, [turn("hello")]);
    await chats().remove(id);
    expect(await chats().list()).toEqual([]);
    expect(localStorage.getItem(`wsserver.chat.${id}`)).toBeNull();
    chats().save(id, [turn("late")]);
    expect(localStorage.getItem(`wsserver.chat.${id}`)).toBeNull();
  });

  it("keeps the fifty newest", async () => {
    const ids: string[] = [];
    for (let index = 0; index < 52; index++) {
      const id = await chats().create({ title: `${index}`, systemPrompt: "" });
      chats().save(id, [turn("x")]);
      ids.push(id);
    }
    expect((await chats().list()).length).toBe(50);
    expect(localStorage.getItem(`wsserver.chat.${ids[0]}`)).toBeNull();
    expect(localStorage.getItem(`wsserver.chat.${ids[51]}`)).not.toBeNull();
  });

  it("leaves empty answers out of what the model is shown", () => {
    const turns = [turn("a"), { id: "x", role: "assistant" as const, text: "" }, turn("b")];
    expect(chats().ask("id", turns).messages?.map(({ content }) => content)).toEqual(["a", "b"]);
  });

  it("works without a storage", async () => {
    const forbidden = new BrowserChats(
      new BrowserStorage(() => {
        throw new DOMException("denied");
      }),
    );
    const id = await forbidden.create({ title: "x", systemPrompt: "" });
    forbidden.save(id, [turn("x")]);
    expect(await forbidden.list()).toEqual([]);
  });
});

describe("fitContext", () => {
  const conversation = (turns: number, length: number): ChatMessage[] =>
    Array.from({ length: turns }, (_, index) => ({
      role: index % 2 === 0 ? "user" : "assistant",
      content: `${index}`.padEnd(length, "x"),
    }));
  const count = async (messages: ChatMessage[]) =>
    messages.reduce((sum, { content }) => sum + Math.ceil(content.length / 4), 0);

  it("asks nothing where everything surely fits", async () => {
    const asked = async () => {
      throw new Error("asked");
    };
    const messages = conversation(3, 50);
    expect(await fitContext(messages, 1024, undefined, asked)).toEqual({ messages, dropped: 0 });
  });

  it("keeps the newest turns that fit, beginning with a question", async () => {
    const messages = conversation(41, 200);
    const { messages: kept, dropped } = await fitContext(messages, 1024, 512, count);
    expect(dropped).toBe(41 - kept.length);
    expect(kept[0]?.role).toBe("user");
    expect(kept.at(-1)).toBe(messages.at(-1));
    expect(await count(kept)).toBeLessThanOrEqual(768);
    expect(await count(kept)).toBeGreaterThan(384);
  });

  it("begins with a question whatever the lengths", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(900), { minLength: 1, maxLength: 30 }), async (lengths) => {
        const messages: ChatMessage[] = lengths.map((length, index) => ({
          role: (lengths.length - index) % 2 === 1 ? "user" : "assistant",
          content: "x".repeat(length),
        }));
        const { messages: kept, dropped } = await fitContext(messages, 600, 100, count);
        expect(kept.at(-1)).toBe(messages.at(-1));
        if (dropped > 0) expect(kept[0]?.role).toBe("user");
        if (kept.length > 1) expect(await count(kept)).toBeLessThanOrEqual(500);
      }),
    );
  });

  it("keeps the last question whatever its length: the server tells that it is too long", async () => {
    const messages = conversation(5, 90_000);
    expect((await fitContext(messages, 1024, 512, count)).messages).toEqual([messages[4]]);
  });
});

describe("an answer", () => {
  it("says how it ended", () => {
    const complete = { type: "stream_complete", finishReason: "length" } as never;
    expect(toOutcome(complete)).toEqual({ kind: "length" });
    expect(toOutcome({ type: "stream_stopped" } as never)).toEqual({ kind: "stopped" });
    expect(toOutcome({ type: "stream_error", code: "c", error: "e", retryable: true } as never)).toEqual({
      kind: "error", code: "c", message: "e", retryable: true,
    });
  });

  it("that had not ended is marked so when it is kept", () => {
    const answer = new Answer();
    expect(answer.stored().outcome).toMatchObject({ kind: "error", code: "interrupted" });
    const again = new Answer({ ...answer.stored(), text: "half" });
    expect(again.busy.value).toBe(false);
    expect(again.text).toBe("half");
  });

  it("can be stopped before it was asked", () => {
    const answer = new Answer();
    answer.stop();
    expect(answer.outcome.value).toEqual({ kind: "stopped" });
  });
});
