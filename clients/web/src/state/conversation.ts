/**
 * The conversation on the page: asking, stopping, asking again, and finding all of it after a
 * reload.
 *
 * Invariant: at most one answer runs, and it is the last turn. Where the conversation is kept is
 * the backend's business, how an answer arrives the answer's.
 */

import { batch, computed, effect, signal } from "@preact/signals";
import { type AnswerStream, type FieldError, newId, type StreamInput } from "@wsserver/client";
import { Answer, type Question, type StoredTurn } from "@wsserver/shared/state/answer.js";
import { capabilities, client } from "@wsserver/shared/state/connection.js";
import { permanent, perTab } from "@wsserver/shared/state/storage.js";
import { chatQuery, readChats } from "./chat-list.js";
import { type ChatBackend, chooseBackend, titleOf } from "./chats.js";
import { fitted, generationInput } from "./request.js";
import { fieldErrors, generationOptions, settings, settingsOpen, showFieldErrors } from "./settings.js";
import { announceEnd, announceRunning, onAnnouncement, type Running, runningIn } from "./tabs.js";

export type Turn = Question | Answer;

const SAVE_INTERVAL = 1_000;
const SEARCH_DELAY = 150;

export const turns = signal<Turn[]>([]);
export const chatId = signal<string | null>(null);
export const chatsAreOnServer = signal(false);
export const editing = signal<string | null>(null);

export const lastAnswer = computed(() => {
  const last = turns.value.at(-1);
  return last instanceof Answer ? last : null;
});
export const running = computed(() => (lastAnswer.value?.busy.value ? lastAnswer.value : null));
/** Whether the server knows `continue`; taken for so where it keeps sessions, until it says no. */
const continueRefused = signal(false);
export const canContinue = computed(
  () => capabilities.value.sessions === true && !continueRefused.value,
);

/** The chat of this tab before it was loaded anew; read before anything overwrites it. */
const before = perTab.get<string>("chat");
let backend: ChatBackend | null = null;
let saving: ReturnType<typeof setTimeout> | undefined;
let searching: ReturnType<typeof setTimeout> | undefined;

client.on("ready", () => void start());
window.addEventListener("pagehide", save);

onAnnouncement(() => void followOtherTab());

effect(() => {
  if (chatId.value === null) perTab.remove("chat");
  else perTab.set("chat", chatId.value);
});

/** Asks a question, as the next turn or instead of the question `replaces` and what followed. */
export async function ask(text: string, replaces: string | null = null): Promise<void> {
  if (running.value || text.trim() === "" || !optionsAreReadable()) return;
  const kept = replaces === null ? turns.value : turns.value.slice(0, indexOf(replaces));
  const id = newId();
  const question: Question = { role: "user", key: id, id, text, parentId: kept.at(-1)?.id ?? null };
  const answer = new Answer();
  batch(() => {
    editing.value = null;
    turns.value = [...kept, question, answer];
  });
  // The first question of a kept conversation has nothing to be a sibling under.
  if (replaces !== null && kept.length === 0 && backend?.kind === "server") chatId.value = null;
  await run(answer, async (id, chat) => {
    const input = chat.ask(id, stored().slice(0, -1));
    return replaces === null ? askAnew(input) : input;
  });
}

/** Asks the last question again. */
export async function retry(): Promise<void> {
  const last = lastAnswer.value;
  if (!last || running.value || !optionsAreReadable()) return;
  const before = turns.value.slice(0, -1);
  const answer = new Answer();
  turns.value = [...before, answer];
  const { id: previous, kept } = last;
  await run(answer, async (id, chat) => {
    const asked = stored().slice(0, -1);
    return kept ? chat.regenerate(id, asked, previous) : askAnew(chat.ask(id, asked));
  });
}

/** Goes on with the last answer where it ended. */
export function continueAnswer(): void {
  const last = lastAnswer.value;
  if (!last || chatId.value === null || running.value || !optionsAreReadable()) return;
  const known = last.outcome.value;
  // Without a stream's name, after a reload, it is the last answer of the session.
  const target = last.streamId === null ? { sessionId: chatId.value } : { streamId: last.streamId };
  const stream = client.continue({ ...target, options: generationOptions(settings.value) });
  const { text } = last;
  announce(stream, text.length);
  last.follow(stream, text);
  stream.on("end", (end) => {
    if (end.type === "stream_error" && end.code === "unknown_type") {
      continueRefused.value = true;
      last.outcome.value = known;
    }
    save();
  });
}

export function stop(): void {
  running.value?.stop();
}

export function newChat(): void {
  leave();
  batch(() => {
    chatId.value = null;
    turns.value = [];
    editing.value = null;
  });
}

export async function openChat(id: string): Promise<void> {
  if (!backend || id === chatId.value) return;
  leave();
  show(id, await backend.load(id));
}

export async function removeChat(id: string): Promise<void> {
  if (id === chatId.value) newChat();
  await backend?.remove(id);
  await refreshChats();
}

export async function renameChat(id: string, title: string): Promise<void> {
  await backend?.rename(id, title);
  await refreshChats();
}

/** Lists the chats that have this in their title or messages, as soon as the typing pauses. */
export function searchChats(text: string): void {
  chatQuery.value = text;
  clearTimeout(searching);
  searching = setTimeout(() => void refreshChats(), SEARCH_DELAY);
}

/** A question at the end of the conversation, not beside another one. */
function askAnew({ parentId: _, ...input }: StreamInput): StreamInput {
  return input;
}

async function start(): Promise<void> {
  const first = backend === null;
  try {
    backend ??= await chooseBackend(client, permanent);
  } catch {
    // The connection went while asking; the next `ready` asks again.
    return;
  }
  chatsAreOnServer.value = backend.kind === "server";
  await refreshChats();
  if (first && turns.value.length === 0) await restore();
}

/** After a reload: the same chat, and the running answer goes on where it was. */
async function restore(): Promise<void> {
  if (before === null || !backend) return;
  let loaded: StoredTurn[];
  try {
    loaded = await backend.load(before);
  } catch {
    // It was deleted elsewhere, or belongs to somebody else now: begin with an empty page.
    return;
  }
  // Somebody was quicker to ask than the server to answer.
  if (loaded.length > 0 && turns.value.length === 0) show(before, loaded);
}

/** Another tab asked something in the chat that is shown here. */
async function followOtherTab(): Promise<void> {
  const id = chatId.value;
  if (id === null || backend?.kind !== "server" || running.value) return;
  const there = runningIn(id);
  if (there === null || lastAnswer.value?.streamId === there.streamId) return;
  const loaded = await backend.load(id);
  if (chatId.value === id && !running.value) show(id, loaded);
}

/** Shows a chat as it is kept, and follows the answer that runs in it. */
function show(id: string, loaded: readonly StoredTurn[]): void {
  const shown = loaded.map(fromStored);
  const there = runningIn(id);
  let answer = shown.at(-1);
  if (there !== null && !(answer instanceof Answer)) shown.push((answer = new Answer()));
  batch(() => {
    chatId.value = id;
    turns.value = shown;
    editing.value = null;
  });
  if (there !== null && answer instanceof Answer) follow(answer, id, there);
}

function follow(answer: Answer, id: string, { streamId, from }: Running): void {
  const outcome = answer.outcome.value;
  const { text } = answer;
  const stream = client.watchStream(streamId, text.slice(from));
  answer.follow(stream, text.slice(0, from));
  stream.on("end", (end) => {
    const unknown = end.type === "stream_error" && ["unknown_type", "stream_not_found"].includes(end.code);
    if (unknown && outcome) answer.outcome.value = outcome;
    announceEnd(id, streamId);
    save();
  });
}

type MakeInput = (chatId: string, chat: ChatBackend) => Promise<StreamInput>;

async function run(answer: Answer, makeInput: MakeInput): Promise<void> {
  const id = chatId;
  try {
    await client.ready();
    backend ??= await chooseBackend(client, permanent);
    id.value ??= await createChat(backend);
    const input = await fitted(await makeInput(id.value, backend), answer);
    // Stopped or left while all this was on its way.
    if (lastAnswer.value !== answer || answer.outcome.value) return;
    await begin(answer, { ...input, ...generationInput() });
  } catch (error) {
    fail(answer, error);
  }
  save();
}

async function begin(answer: Answer, input: StreamInput): Promise<void> {
  const stream = client.stream(input);
  answer.follow(stream, "");
  announce(stream, 0);
  stream.on("change", saveSoon);
  const end = await stream.done;
  const question = turns.value.at(-2);
  if (stream.start?.userMessageId && question?.role === "user") {
    question.id = stream.start.userMessageId;
  }
  if (end.type === "stream_error") {
    // The server lost the conversation, or it was deleted elsewhere; here it still stands.
    if (end.code === "session_not_found" && !answer.kept) await beginRestored(answer);
    else showFields(answer, end.details ?? []);
  }
  save();
  void refreshChats();
}

/** Tells the other tabs, and this one after a reload, that an answer runs in this chat. */
function announce(stream: AnswerStream, from: number): void {
  const id = chatId.value;
  if (id === null) return;
  stream.on("change", () => {
    const { streamId, end } = stream;
    if (streamId !== null && !end) announceRunning(id, { streamId, from });
  });
  stream.on("end", () => announceEnd(id, stream.streamId));
}

async function beginRestored(answer: Answer): Promise<void> {
  const id = chatId.value;
  if (!backend || id === null || lastAnswer.value !== answer) return;
  const asked = stored().slice(0, -1);
  await backend.restore(id, asked.slice(0, -1));
  // Whatever happens now is told: a second loss in a row is no accident.
  const stream = client.stream({ ...askAnew(backend.ask(id, asked)), ...generationInput() });
  announce(stream, 0);
  answer.follow(stream, "");
}

/** Puts the server's complaints beside their fields, and what has no field here into the message. */
function showFields(answer: Answer, details: readonly FieldError[]): void {
  const others = showFieldErrors(details);
  const outcome = answer.outcome.value;
  if (others.length === details.length || others.length === 0 || outcome?.kind !== "error") return;
  const more = others.map(({ field, message }) => `${field}: ${message}`).join("; ");
  answer.outcome.value = { ...outcome, message: `${outcome.message} (${more})` };
}

async function createChat(chat: ChatBackend): Promise<string> {
  const systemPrompt = settings.value.system.trim();
  const id = await chat.create({ title: titleOf(turns.value), systemPrompt });
  await refreshChats();
  return id;
}

function optionsAreReadable(): boolean {
  const readable = Object.keys(fieldErrors.value).length === 0;
  if (!readable) settingsOpen.value = true;
  return readable;
}

function fail(answer: Answer, error: unknown): void {
  const message = error instanceof Error ? error.message : String(error);
  batch(() => {
    answer.outcome.value = { kind: "error", code: "connection_lost", message, retryable: true };
    answer.phase.value = "ended";
  });
}

/** What the page leaves behind when it turns to another chat. */
function leave(): void {
  // The server writes its answers down itself; in a browser an unseen one would be lost.
  if (backend?.kind === "browser") stop();
  save();
}

function stored(): StoredTurn[] {
  return turns.value.map((turn) => (turn instanceof Answer ? turn.stored() : storedQuestion(turn)));
}

function storedQuestion({ role, id, text, parentId }: Question): StoredTurn {
  return { role, id, text, parentId };
}

function fromStored(turn: StoredTurn): Turn {
  if (turn.role === "assistant") return new Answer(turn);
  return { role: "user", key: turn.id, id: turn.id, text: turn.text, parentId: turn.parentId ?? null };
}

function indexOf(id: string): number {
  const index = turns.value.findIndex((turn) => turn.id === id);
  return index < 0 ? turns.value.length : index;
}

function saveSoon(): void {
  saving ??= setTimeout(save, SAVE_INTERVAL);
}

function save(): void {
  clearTimeout(saving);
  saving = undefined;
  if (chatId.value !== null) backend?.save(chatId.value, stored());
}

async function refreshChats(): Promise<void> {
  if (backend) await readChats(backend);
}
