import type { Frame, RoomEntry } from "@wsserver/client";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { outside, reduce, type RoomState } from "../src/state/room.js";
import { timeline } from "../src/state/timeline.js";

const ME = { clientId: "c-me", userId: "me" };
const member = (userId: string, more: object = {}) => ({
  userId,
  name: userId.toUpperCase(),
  role: "member",
  state: {},
  clientIds: [`c-${userId}`],
  ...more,
});
const MEMBERS = [member("me", { role: "owner" }), member("bob")];

/** A server's room, of which any moment can be told: what happened live, and what one finds on joining. */
class Server {
  readonly log: RoomEntry[] = [];
  readonly frames: Frame[] = [];
  readonly active: string[] = [];
  #streams = 0;

  say(userId: string): void {
    const entry = this.#write({ role: "user", userId, name: userId.toUpperCase(), clientId: `c-${userId}`, text: `said ${this.log.length}` });
    this.frames.push({ type: "room_message", roomId: "r", ...entry });
  }

  ask(userId: string): void {
    const streamId = `s${++this.#streams}`;
    const asked = { clientId: `c-${userId}`, userId, name: userId.toUpperCase(), streamId };
    const { seq } = this.#write({ ...asked, role: "user", text: `asked ${streamId}` });
    this.active.push(streamId);
    this.frames.push({ type: "stream_start", roomId: "r", ...asked, model: "m", prompt: `asked ${streamId}`, seq });
  }

  end(stopped: boolean): void {
    const streamId = this.active.shift();
    if (streamId === undefined) return;
    const { seq } = this.#write({ role: "assistant", userId: "m", name: "m", clientId: null, text: `answer ${streamId}`, streamId });
    const end = stopped
      ? { type: "stream_stopped", reason: "moderator", stoppedBy: "c-bob" }
      : { type: "stream_complete", finishReason: "stop" };
    this.frames.push({ roomId: "r", streamId, seq, offset: 3, totalTokens: 1, ...end });
  }

  joined(after: number, recovered: boolean): Frame {
    const activeStreams = this.active.map((streamId) => ({ streamId, clientId: "c-me", model: "m", state: "running", offset: 0 }));
    return {
      type: "room_joined",
      roomId: "r",
      participants: 2,
      members: MEMBERS,
      epoch: "e",
      seq: this.log.length,
      recovered,
      messages: this.log.filter(({ seq }) => seq > after),
      activeStreams,
      role: "owner",
      settings: {},
    };
  }

  #write(entry: Omit<RoomEntry, "seq" | "messageId" | "timestamp">): RoomEntry {
    const seq = this.log.length + 1;
    const written: RoomEntry = { ...entry, seq, messageId: `m${seq}`, timestamp: seq };
    this.log.push(written);
    return written;
  }
}

type Act = (server: Server) => void;

const acts = fc.array(
  fc.constantFrom<Act>(
    (server) => server.say("me"),
    (server) => server.say("bob"),
    (server) => server.ask("me"),
    (server) => server.ask("bob"),
    (server) => server.end(false),
    (server) => server.end(true),
  ),
  { maxLength: 40 },
);

function fold(state: RoomState, frames: readonly Frame[]): RoomState {
  return frames.reduce((now, frame) => reduce(now, frame, 1_000), state);
}

function entered(server: Server): RoomState {
  return fold(outside("r", ME), [server.joined(0, false)]);
}

/** What all members must agree on: an answer seen live has its text in its stream, not here. */
function agreed({ log, open }: RoomState) {
  return {
    log: log.map(({ seq, role, userId, name, streamId }) => ({ seq, role, userId, name, streamId })),
    open: open.map(({ streamId }) => streamId),
  };
}

function happen(server: Server, all: readonly Act[]): Frame[] {
  const before = server.frames.length;
  for (const act of all) act(server);
  return server.frames.slice(before);
}

describe("the log", () => {
  it("is the same from the beginning, from midway and afterwards", () => {
    fc.assert(
      fc.property(acts, acts, (early, later) => {
        const server = new Server();
        const first = entered(server);
        const earlyFrames = happen(server, early);
        const midway = entered(server);
        const laterFrames = happen(server, later);
        const live = fold(first, [...earlyFrames, ...laterFrames]);
        expect(agreed(fold(midway, laterFrames))).toEqual(agreed(live));
        expect(agreed(entered(server))).toEqual(agreed(live));
        expect(live.log.map(({ seq }) => seq)).toEqual(server.log.map(({ seq }) => seq));
      }),
    );
  });

  it("loses and doubles nothing when a connection was away, wherever it broke", () => {
    fc.assert(
      fc.property(acts, acts, acts, fc.nat(), (early, missed, later, cut) => {
        const server = new Server();
        const first = entered(server);
        const had = fold(first, happen(server, early));
        const lost = happen(server, missed);
        // Of what was on its way some may have come, and some may come again behind the replay.
        const came = fold(had, lost.slice(0, cut % (lost.length + 1)));
        const back = fold(came, [server.joined(came.log.at(-1)?.seq ?? 0, true), ...lost.filter(({ type }) => type.startsWith("stream_"))]);
        const live = fold(back, happen(server, later));
        expect(agreed(live)).toEqual(agreed(entered(server)));
      }),
    );
  });

  it("is put together from pages in any order, and knows when there is no more", () => {
    fc.assert(
      fc.property(fc.array(fc.nat({ max: 9 }), { maxLength: 20 }), (order) => {
        const server = new Server();
        happen(server, Array.from({ length: 50 }, () => (one) => one.say("bob")));
        const page = (index: number): Frame => ({
          type: "room_history",
          roomId: "r",
          messages: server.log.slice(index * 5, index * 5 + 5),
          hasMore: index > 0,
        });
        const newest = { ...server.joined(45, false) };
        const pages = [...order, ...Array.from({ length: 10 }, (_, index) => index)];
        const state = fold(outside("r", ME), [newest, ...pages.map(page)]);
        expect(state.log.map(({ seq }) => seq)).toEqual(server.log.map(({ seq }) => seq));
        expect(state.hasMore).toBe(false);
      }),
    );
  });

  it("is replaced by another one, which is told", () => {
    const server = new Server();
    const had = fold(entered(server), happen(server, [(one) => one.say("bob"), (one) => one.ask("bob")]));
    const fresh = new Server();
    fresh.say("me");
    const state = fold(had, [{ ...fresh.joined(0, false), epoch: "f" }]);
    expect(agreed(state)).toEqual(agreed(entered(fresh)));
    expect(state.notices.map(({ text }) => text)).toEqual([expect.stringContaining("replaced")]);
  });
});

describe("answers", () => {
  it("say who stopped them, also when that one has left since", () => {
    const server = new Server();
    const frames = happen(server, [(one) => one.ask("me"), (one) => one.end(true)]);
    const left = { type: "room_user_left", roomId: "r", clientId: "c-bob", userId: "bob", participants: 1, reason: "left" };
    const state = fold(entered(new Server()), [...frames, left]);
    expect(state.endings["s1"]).toEqual({ kind: "stopped", by: { clientId: "c-bob", name: "BOB" } });
    expect(state.members.map(({ userId }) => userId)).toEqual(["me"]);
  });

  it("say who asked, from a client that nobody was told of, too", () => {
    const second = { roomId: "r", streamId: "s1", clientId: "c-bob-2", model: "m" };
    const seen = { ...second, type: "stream_start", userId: "bob", name: "Bob", prompt: "why?", seq: 1 };
    const [answer] = fold(entered(new Server()), [seen]).open;
    expect(answer).toMatchObject({ asker: "Bob", userId: "bob" });
    const running = { ...new Server().joined(0, false), activeStreams: [{ ...second, state: "running", offset: 0 }] };
    const midway = fold(outside("r", ME), [running]);
    expect(midway.open[0]).toMatchObject({ asker: "someone", userId: null });
    const snapshot = { ...second, type: "stream_snapshot", userId: "bob", name: "Bob", state: "running" };
    expect(fold(midway, [snapshot]).open).toEqual([answer]);
  });

  it("without a place in the log stay where they were made", () => {
    const server = new Server();
    const state = fold(entered(server), [
      ...happen(server, [(one) => one.ask("me")]),
      { type: "stream_error", roomId: "r", streamId: "s1", code: "x", error: "gone", retryable: false },
    ]);
    expect(state.open.map(({ streamId }) => streamId)).toEqual(["s1"]);
    expect(state.endings["s1"]).toEqual({ kind: "error", message: "gone" });
  });
});

describe("people", () => {
  it("come, change, and go, joined up or one by one", () => {
    const state = fold(entered(new Server()), [
      { type: "room_user_joined", roomId: "r", participants: 3, clientId: "c-cyd", member: member("cyd") },
      { type: "room_presence", roomId: "r", member: member("bob", { state: { typing: true } }) },
      { type: "room_presence", roomId: "r", joined: [member("dan")], left: ["cyd"], changed: [], participants: 3 },
      { type: "room_role", roomId: "r", userId: "dan", role: "viewer", by: "me" },
    ]);
    expect(state.members.map(({ userId, role }) => `${userId} ${role}`)).toEqual(["me owner", "bob member", "dan viewer"]);
    expect(state.participants).toBe(3);
    expect(state.typed).toEqual({ bob: 1_000 });
    expect(state.notices.map(({ text }) => text)).toEqual(["CYD came in", "DAN is a viewer now, by ME"]);
  });

  it("are banned and let in again, and one's own end in the room is known", () => {
    const banned = { type: "room_role", roomId: "r", userId: "bob", role: "banned", by: "me" };
    const out = { type: "room_user_left", roomId: "r", userId: "bob", clientId: "c-bob", participants: 1, reason: "banned" };
    const state = fold(entered(new Server()), [banned, out]);
    expect(state.banned).toEqual(["bob"]);
    expect(fold(state, [{ ...banned, role: "member" }]).banned).toEqual([]);
    expect(state.out).toBe(null);
    const me = fold(state, [{ ...out, userId: "me", clientId: "c-me", reason: "kicked" }, { type: "room_left", roomId: "r" }]);
    expect(me.out).toBe("kicked");
  });

  it("of other rooms change nothing", () => {
    const state = entered(new Server());
    expect(reduce(state, { type: "room_message", roomId: "other", seq: 1 }, 0)).toBe(state);
    expect(reduce(state, { type: "stream_token", streamId: "s" }, 0)).toBe(state);
  });
});

describe("the timeline", () => {
  it("has everything once, notices behind the entry they came after", () => {
    fc.assert(
      fc.property(acts, fc.array(fc.nat({ max: 60 }), { maxLength: 10 }), (all, places) => {
        const server = new Server();
        const frames = happen(server, all);
        const come = { type: "room_user_joined", roomId: "r", participants: 2, clientId: "c-bob", member: member("bob") };
        for (const place of places) frames.splice(place % (frames.length + 1), 0, come);
        const state = fold(entered(new Server()), frames);
        const items = timeline(state);
        expect(new Set(items.map(({ key }) => key)).size).toBe(items.length);
        expect(items.filter(({ kind }) => kind === "entry").length).toBe(state.log.length);
        expect(items.filter(({ kind }) => kind === "notice").length).toBe(state.notices.length);
        let last = 0;
        for (const item of items) {
          if (item.kind === "entry") last = item.entry.seq;
          else expect(item.notice.after).toBe(last);
        }
      }),
    );
  });
});
