/**
 * The one room that this page is in: entering, leaving, and keeping its state and its answers up to
 * date over connections that come and go.
 *
 * `target` is where the person wants to be, `handle` whether the SDK is there now. Between the two
 * lies the network: whenever a connection is ready and there is a target without a handle, it is
 * entered (again).
 */

import { batch, effect, signal } from "@preact/signals";
import { type AnswerStream, ConnectionLostError, type Entrance, type Frame, type Room } from "@wsserver/client";
import { Answer } from "@wsserver/shared/state/answer.js";
import { client, status } from "@wsserver/shared/state/connection.js";
import { permanent } from "@wsserver/shared/state/storage.js";
import { readAddress, roomAddress } from "./address.js";
import { type Me, outside, reduce, type RoomState } from "./room.js";

export const room = signal<RoomState | null>(null);
/** The answers that were seen being made, by stream: what the log's entries take their text from. */
export const answers = signal<ReadonlyMap<string, Answer>>(new Map());
/** Why one is not, or no longer, in a room. */
export const refusal = signal("");
/** What the server said no to. */
export const problem = signal("");
export const loadingHistory = signal(false);
export const userName = signal(readAddress(location).name || (permanent.get<string>("name") ?? ""));

const HISTORY_PAGE = 50;

let me: Me = { clientId: "", userId: "" };
let target: { roomId: string; entrance: Entrance } | null = null;
let handle: Room | null = null;
const asked = new Set<number>();

client.on("frame", (frame) => {
  me = identity(frame);
  // After a close for good the room is entered anew, and nothing of it is known to be whole.
  if (frame.type === "connected" && target && !handle) begin(target.roomId);
  const state = room.value;
  if (state) room.value = reduce(state, frame, Date.now());
});
client.on("ready", () => void settle());
window.addEventListener("popstate", () => void followAddress());
effect(fill);

/** What the address says, at the beginning or after the browser's back button. */
export async function followAddress(): Promise<void> {
  const { room: roomId, name, invite } = readAddress(location);
  if (name !== "") userName.value = name;
  if (roomId === target?.roomId) return;
  if (roomId === "" || userName.value === "") await leave();
  else await enter(roomId, userName.value, invite);
}

export async function enter(roomId: string, name: string, invite = ""): Promise<void> {
  if (target) await leave();
  permanent.set("name", name);
  const entrance: Entrance = { name, state: { typing: false, away: document.hidden } };
  if (invite !== "") entrance.invite = invite;
  target = { roomId, entrance };
  batch(() => {
    userName.value = name;
    refusal.value = "";
    problem.value = "";
    begin(roomId);
  });
  await settle();
}

/** Leaves the room, and the page goes back to the list. */
export async function leave(): Promise<void> {
  const left = handle;
  forget();
  showAddress("");
  // Without a connection the server finds out by itself.
  await left?.leave().catch(() => undefined);
}

/** The room as the SDK has it, while we are there. */
export function present(): Room | null {
  return handle;
}

/** Shows what became of something that was asked of the server. */
export async function attempt(work: Promise<unknown> | undefined): Promise<boolean> {
  problem.value = "";
  try {
    await work;
    return true;
  } catch (error) {
    problem.value = error instanceof Error ? error.message : String(error);
    return false;
  }
}

/** The page of the log before what is shown. */
export async function loadOlder(): Promise<void> {
  const state = room.value;
  if (!handle || !state?.hasMore || loadingHistory.value) return;
  loadingHistory.value = true;
  const before = state.log[0]?.seq;
  // The frame itself is what the state takes in.
  await attempt(handle.history({ limit: HISTORY_PAGE, ...(before === undefined ? {} : { before }) }));
  loadingHistory.value = false;
}

/** Follows an answer of the room as soon as the server has given it its name. */
export function follow(stream: AnswerStream): void {
  const answer = new Answer();
  answer.follow(stream, "");
  const register = () => {
    const { streamId } = stream;
    if (streamId === null || answers.value.get(streamId) === answer) return;
    answers.value = new Map(answers.value).set(streamId, answer);
  };
  stream.on("change", register);
  register();
}

function begin(roomId: string): void {
  asked.clear();
  batch(() => {
    answers.value = new Map();
    room.value = outside(roomId, me);
  });
}

async function settle(): Promise<void> {
  const wanted = target;
  if (!wanted || handle || status.value.state === "closed") return;
  try {
    await client.ready();
    const entered = await client.joinRoom(wanted.roomId, wanted.entrance);
    if (target !== wanted) await entered.leave();
    else if (handle !== entered) settled(entered);
  } catch (error) {
    // The next connection tries again.
    if (error instanceof ConnectionLostError || client.status.state === "closed" || target !== wanted) return;
    refuse(error instanceof Error ? error.message : String(error));
  }
}

function settled(entered: Room): void {
  handle = entered;
  showAddress(entered.roomId);
  entered.on("stream", follow);
  entered.on("left", (frame) => leftBy(entered, frame));
  // Those that came with a resumed connection, before anybody listened.
  for (const { streamId } of room.value?.open ?? []) {
    if (!answers.value.has(streamId)) follow(client.watchStream(streamId));
  }
  const { state } = entered.entrance;
  // The others learn of this tab's clientId only with its presence.
  if (state) entered.setPresence(state).catch(() => undefined);
}

function leftBy(left: Room, frame: Frame | null): void {
  if (handle !== left) return;
  handle = null;
  // Closed for good: whoever connects again wants to be here again.
  if (client.status.state === "closed") return;
  if (frame?.type === "error") refuse(frame["error"] as string);
  else refuse(OUT[room.value?.out ?? "left"]);
}

const OUT = {
  left: "You are no longer in this room.",
  kicked: "You were sent out of this room.",
  banned: "You were banned from this room.",
};

function refuse(why: string): void {
  forget();
  refusal.value = why;
}

function forget(): void {
  target = null;
  handle = null;
  asked.clear();
  batch(() => {
    room.value = null;
    answers.value = new Map();
    loadingHistory.value = false;
  });
}

function showAddress(roomId: string): void {
  const shown = roomAddress(location.href, roomId);
  if (readAddress(location).room === roomId) history.replaceState(null, "", shown);
  else history.pushState(null, "", shown);
}

function identity(frame: Frame): Me {
  if (frame.type === "connected" || frame.type === "resumed") return { ...me, clientId: frame["clientId"] as string };
  return frame.type === "authenticated" ? { ...me, userId: frame["userId"] as string } : me;
}

/** Asks the log for what events did not tell: a very long question. */
function fill(): void {
  const state = room.value;
  if (!state || !handle) return;
  for (const { seq, role, text } of state.log) {
    if (role === "assistant" || text !== null || asked.has(seq)) continue;
    asked.add(seq);
    handle.history({ before: seq + 1, limit: 1 }).catch(() => asked.delete(seq));
  }
}
