/** Saying, asking, going on, stopping: what a person does in a room, and what is still on its way. */

import { effect, signal } from "@preact/signals";
import { type AnswerStream, newId } from "@wsserver/client";
import { client } from "@wsserver/shared/state/connection.js";
import { answers, follow, present, room } from "./here.js";
import { stopTyping } from "./presence.js";

export interface Outgoing {
  readonly key: string;
  readonly kind: "say" | "ask";
  readonly text: string;
  /** Why it did not get there. */
  readonly error: string | null;
  /** Sends it once more. */
  readonly again: () => void;
  /** Gives an ask up that is still on its way. */
  readonly cancel: (() => void) | null;
}

/** What was sent and does not stand in the log yet. */
export const outgoing = signal<readonly Outgoing[]>([]);

effect(() => {
  if (room.value === null) outgoing.value = [];
});

export function say(text: string): void {
  const room = present();
  if (!room) return;
  stopTyping();
  const key = newId();
  put({ key, kind: "say", text, error: null, again: () => say(text), cancel: null });
  room.send(text).then(
    () => drop(key),
    (error: Error) => failed(key, error.message),
  );
}

/** Asks a model in front of everyone; without one the room's answers. */
export function ask(text: string, model: string): void {
  const room = present();
  if (!room) return;
  stopTyping();
  send(room.ask(model === "" ? { prompt: text } : { prompt: text, model }), text, () => ask(text, model));
}

/** Goes on with an answer that was stopped, failed or cut off. */
export function goOn(streamId: string): void {
  if (present()) send(client.continue({ streamId }), "Going on …", () => goOn(streamId));
}

export function stop(streamId: string): void {
  answers.value.get(streamId)?.stop();
}

export function drop(key: string): void {
  outgoing.value = outgoing.value.filter((one) => one.key !== key);
}

function send(stream: AnswerStream, text: string, again: () => void): void {
  const key = newId();
  put({ key, kind: "ask", text, error: null, again, cancel: () => stream.stop() });
  follow(stream);
  const off = stream.on("change", () => {
    if (stream.streamId === null) return;
    off();
    drop(key);
  });
  void stream.done.then((end) => {
    if (end.type === "stream_error" && stream.streamId === null) failed(key, end.error);
    else drop(key);
  });
}

function put(item: Outgoing): void {
  outgoing.value = [...outgoing.value, item];
}

function failed(key: string, error: string): void {
  outgoing.value = outgoing.value.map((one) => (one.key === key ? { ...one, error, cancel: null } : one));
}
