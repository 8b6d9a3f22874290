/** One answer on the page: its text as shown, what it is doing, and how it ended. */

import { computed, type ReadonlySignal, signal } from "@preact/signals";
import { type AnswerStream, newId, type StreamEnd } from "@wsserver/client";
import { FrameText } from "./frame-text.js";

export type Phase = "waiting" | "queued" | "loading" | "running" | "ended";

export type Outcome =
  | { kind: "complete" }
  | { kind: "length" | "timeout" | "stopped" }
  | { kind: "error"; code: string; message: string; retryable: boolean };

export interface Figures {
  tokens: number;
  tokensPerSecond: number | null;
  timeToFirstToken: number | null;
}

export interface StoredTurn {
  id: string;
  role: "user" | "assistant";
  text: string;
  outcome?: Outcome;
  figures?: Figures;
  streamId?: string;
  parentId?: string | null;
  model?: string;
}

export interface Question {
  readonly role: "user";
  readonly key: string;
  id: string;
  readonly text: string;
  /** The message before it in a conversation that the server keeps. */
  parentId: string | null;
}

export class Answer {
  readonly role = "assistant";
  /** Stays when the server gives the turn its id. */
  readonly key = newId();
  id: string;
  streamId: string | null = null;
  model: string | null = null;
  /** Its question stands in the history that the server keeps; a refused one does not. */
  kept: boolean;
  readonly phase = signal<Phase>("waiting");
  readonly stopping = signal(false);
  readonly queuePosition = signal<number | null>(null);
  readonly outcome = signal<Outcome | null>(null);
  readonly figures = signal<Figures | null>(null);
  /** Turns that the model was not shown, since they no longer fit. */
  readonly dropped = signal(0);
  readonly busy: ReadonlySignal<boolean> = computed(() => this.phase.value !== "ended");
  readonly #frames: FrameText;
  #stream: AnswerStream | null = null;
  /** What came before the present stream: a continued answer has several. */
  #before = "";

  constructor(stored?: StoredTurn) {
    this.id = stored?.id ?? newId();
    this.kept = stored !== undefined;
    this.#before = stored?.text ?? "";
    this.#frames = new FrameText(() => this.text);
    if (!stored) return;
    this.phase.value = "ended";
    this.outcome.value = stored.outcome ?? { kind: "complete" };
    this.figures.value = stored.figures ?? null;
    this.streamId = stored.streamId ?? null;
    this.model = stored.model ?? null;
  }

  /** All of it; `shown` may be a frame behind. */
  get text(): string {
    return this.#before + (this.#stream?.text ?? "");
  }

  get shown(): ReadonlySignal<string> {
    return this.#frames.shown;
  }

  /** Shows `before` and then the stream's text. */
  follow(stream: AnswerStream, before: string): void {
    this.#before = before;
    this.#stream = stream;
    this.outcome.value = null;
    this.stopping.value = false;
    this.phase.value = "waiting";
    stream.on("change", () => this.#update(stream));
    stream.on("end", (end) => this.#end(end));
    if (stream.end) this.#end(stream.end);
    else this.#update(stream);
  }

  stop(): void {
    if (this.#stream) this.#stream.stop();
    else {
      // It is still being prepared here; who prepares it sees the outcome and lets it be.
      this.outcome.value = { kind: "stopped" };
      this.phase.value = "ended";
    }
  }

  stored(): StoredTurn {
    const turn: StoredTurn = { id: this.id, role: "assistant", text: this.text };
    turn.outcome = this.outcome.value ?? (this.stopping.value ? { kind: "stopped" } : INTERRUPTED);
    if (this.figures.value) turn.figures = this.figures.value;
    if (this.streamId !== null) turn.streamId = this.streamId;
    if (this.model !== null) turn.model = this.model;
    return turn;
  }

  #update(stream: AnswerStream): void {
    if (stream.end) return;
    this.streamId = stream.streamId;
    this.model = stream.model ?? this.model;
    this.id = stream.messageId ?? this.id;
    this.kept ||= stream.messageId !== null;
    this.dropped.value = stream.start?.droppedMessages ?? this.dropped.value;
    this.stopping.value = stream.stopping;
    this.queuePosition.value = stream.queuePosition;
    this.phase.value = toPhase(stream);
    if (stream.tokens > 0) {
      this.figures.value = {
        tokens: stream.tokens,
        tokensPerSecond: stream.progress?.tokensPerSecond ?? null,
        timeToFirstToken: null,
      };
    }
    this.#frames.touch();
  }

  #end(end: StreamEnd): void {
    this.stopping.value = false;
    this.queuePosition.value = null;
    this.phase.value = "ended";
    this.outcome.value = toOutcome(end);
    this.figures.value = toFigures(end) ?? this.figures.value;
    this.#frames.flush();
  }
}

/** What a reload found of an answer that had not ended. */
const INTERRUPTED: Outcome = {
  kind: "error",
  code: "interrupted",
  message: "The page was closed before this answer ended.",
  retryable: true,
};

function toPhase(stream: AnswerStream): Phase {
  return stream.state === "pending" ? "waiting" : stream.state;
}

export function toOutcome(end: StreamEnd): Outcome {
  if (end.type === "stream_stopped") return { kind: "stopped" };
  if (end.type === "stream_complete") {
    const { finishReason } = end;
    return { kind: finishReason === "length" || finishReason === "timeout" ? finishReason : "complete" };
  }
  const { code, error, retryable } = end;
  return { kind: "error", code, message: error, retryable };
}

function toFigures(end: StreamEnd): Figures | null {
  if (end.type === "stream_error" || !(end.totalTokens > 0)) return null;
  const tokens = end.totalTokens;
  if (end.type === "stream_stopped") return { tokens, tokensPerSecond: null, timeToFirstToken: null };
  const seconds = (end.duration - (end.timeToFirstToken ?? 0)) / 1000;
  const tokensPerSecond = seconds > 0 && tokens > 1 ? (tokens - 1) / seconds : null;
  return { tokens, tokensPerSecond, timeToFirstToken: end.timeToFirstToken };
}
