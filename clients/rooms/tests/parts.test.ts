import { describe, expect, it } from "vitest";
import { sentence } from "../src/components/Typists.js";
import { readAddress, roomAddress } from "../src/state/address.js";
import { settingsNotice } from "../src/state/notices.js";
import { isTyping } from "../src/state/presence.js";
import { gifts, invitable, mayAsk, mayThrowOut } from "../src/state/rights.js";
import { outside } from "../src/state/room.js";

const member = (role: string) => ({ userId: "u", role, clientIds: [] });

describe("addresses", () => {
  it("of rooms can be read again, whatever the room is called, and send invites to nobody", () => {
    const made = new URL(roomAddress("http://h/x/apps/rooms/?name=Ada#old", "a&b #ü", "se/cret"));
    expect(made.pathname).toBe("/x/apps/rooms/");
    expect(made.search).not.toContain("cret");
    expect(readAddress(made)).toEqual({ room: "a&b #ü", name: "", invite: "se/cret" });
    expect(roomAddress("http://h/apps/rooms/?room=x#y", "")).toBe("http://h/apps/rooms/");
  });
});

describe("rights", () => {
  it("are those that the server grants", () => {
    expect(gifts("owner", member("owner"), false)).toEqual(["moderator", "member", "viewer"]);
    expect(gifts("moderator", member("member"), false)).toEqual(["viewer"]);
    expect(gifts("moderator", member("moderator"), false)).toEqual([]);
    expect(gifts("member", member("viewer"), false)).toEqual([]);
    expect(gifts("moderator", member("moderator"), true)).toEqual(["member", "viewer"]);
    expect(mayThrowOut("owner", member("owner"), false)).toBe(true);
    expect(mayThrowOut("owner", member("owner"), true)).toBe(false);
    expect(invitable("moderator")).toEqual(["member", "viewer"]);
    expect(mayAsk("viewer", {})).toBe(false);
    expect(mayAsk("viewer", { ask: "everyone" })).toBe(true);
    expect(mayAsk("member", { ask: "moderators" })).toBe(false);
  });
});

describe("words", () => {
  it("name who types, and no crowd", () => {
    expect(sentence(["Ada"])).toBe("Ada is typing …");
    expect(sentence(["Ada", "Bob", "Cyd"])).toBe("Ada, Bob and Cyd are typing …");
    expect(sentence(["A", "B", "C", "D"])).toBe("Several people are typing …");
  });

  it("are of who types now, and not of whose tab was closed in the midst of it", () => {
    const state = { ...outside("r", { clientId: "c", userId: "u" }), typed: { bob: 1_000 } };
    expect(isTyping(state, "bob", 5_000)).toBe(true);
    expect(isTyping(state, "bob", 10_000)).toBe(false);
    expect(isTyping(state, "cyd", 1_000_000)).toBe(false);
  });

  it("say what of the settings was changed", () => {
    expect(settingsNotice({}, { locked: true }, "Ada")).toBe("Ada locked the room");
    expect(settingsNotice({ title: "a" }, { title: "b", ask: "everyone" }, "Ada")).toBe("Ada changed the title, who may ask");
    expect(settingsNotice({ title: "a" }, { title: "a" }, "Ada")).toBe(null);
  });
});
