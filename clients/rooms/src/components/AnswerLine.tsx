/** An answer of a model: being made, or in the log. */

import type { ToolCall } from "@wsserver/client";
import { ENDINGS, place, Waiting } from "@wsserver/shared/components/AnswerState.js";
import { CopyButton } from "@wsserver/shared/components/CopyButton.js";
import { Forward, StopSquare } from "@wsserver/shared/components/icons.js";
import { Markdown } from "@wsserver/shared/markdown/Markdown.js";
import type { Answer } from "@wsserver/shared/state/answer.js";
import { answers } from "../state/here.js";
import { mayAsk, moderates } from "../state/rights.js";
import type { Ending, Entry, OpenAnswer, RoomState } from "../state/room.js";
import { goOn, stop } from "../state/talking.js";
import { Heading } from "./Line.js";

/** @param ahead How many answers were asked for before this one and are not there yet. */
export function LiveAnswer({ state, open, ahead }: { state: RoomState; open: OpenAnswer; ahead: number }) {
  const { streamId, model, asker, continues } = open;
  const answer = answers.value.get(streamId);
  const text = answer?.shown.value ?? "";
  const ending = state.endings[streamId];
  const waits = text === "" && ahead > 0 && answer?.phase.value !== "running";
  const mine = open.clientId === state.me.clientId || open.userId === state.me.userId;
  return (
    <article
      class="line answer"
      aria-busy={!ending}
      data-testid="entry"
      data-role="assistant"
      data-state={ending?.kind ?? (waits ? "queued" : (answer?.phase.value ?? "waiting"))}
    >
      <Heading name={model ?? "model"} model>
        <span class="facts">{continues === null ? `for ${mine ? "you" : asker}` : "goes on"}</span>
      </Heading>
      {text !== "" && <Markdown text={text} />}
      {!ending && waits && <p class="waiting" data-testid="progress">{place(ahead)}</p>}
      {!ending && !waits && answer && <Waiting answer={answer} empty={text === ""} />}
      {ending && <EndingView state={state} ending={ending} streamId={streamId} hasText={text !== ""} />}
      {!ending && (mine || moderates(state.role)) && <StopButton answer={answer} streamId={streamId} waits={waits} />}
    </article>
  );
}

function StopButton({ answer, streamId, waits }: { answer: Answer | undefined; streamId: string; waits: boolean }) {
  const stopping = answer?.stopping.value ?? false;
  return (
    <button type="button" class="pill stop" disabled={stopping || !answer} onClick={() => stop(streamId)} data-testid="stop">
      <StopSquare /> {stopping ? "Stopping …" : waits ? "Withdraw" : "Stop"}
    </button>
  );
}

export function LoggedAnswer({ state, entry }: { state: RoomState; entry: Entry }) {
  const { streamId, seq, name, continues } = entry;
  const answer = streamId === null ? undefined : answers.value.get(streamId);
  const text = entry.text ?? answer?.shown.value ?? "";
  const ending = streamId === null ? undefined : state.endings[streamId];
  return (
    <article
      class="line answer"
      data-testid="entry"
      data-role="assistant"
      data-seq={seq}
      data-state={ending?.kind ?? "complete"}
    >
      <Heading name={name ?? "model"} model timestamp={entry.timestamp}>
        {continues !== null && <span class="facts">goes on</span>}
        {text !== "" && <CopyButton text={() => entry.text ?? answer?.text ?? ""} label="Copy answer" />}
      </Heading>
      {text !== "" && <Markdown text={text} />}
      {text === "" && !ending && <p class="facts">(no text)</p>}
      {ending && streamId !== null && <EndingView state={state} ending={ending} streamId={streamId} hasText={text !== ""} />}
    </article>
  );
}

interface EndingProps {
  state: RoomState;
  ending: Ending;
  streamId: string;
  hasText: boolean;
}

function EndingView({ state, ending, streamId, hasText }: EndingProps) {
  if (ending.kind === "complete") return ending.tools ? <Calls tools={ending.tools} /> : null;
  const isContinued = [...state.log, ...state.open].some(({ continues }) => continues === streamId);
  return (
    <div class={ending.kind === "error" ? "failure" : "ending"} data-testid="ending">
      <span class={ending.kind === "error" ? "" : "tag"}>{words(state, ending)}</span>
      {hasText && !isContinued && mayAsk(state.role, state.settings) && (
        <button type="button" class="pill" onClick={() => goOn(streamId)} data-testid="continue">
          <Forward /> Continue
        </button>
      )}
    </div>
  );
}

function words({ me }: RoomState, { kind, by, message }: Ending): string {
  if (kind === "error") return message ?? "This answer failed.";
  if (kind === "stopped" && by) return `Stopped by ${by.clientId === me.clientId ? "you" : by.name}`;
  return kind === "complete" ? "" : ENDINGS[kind];
}

function Calls({ tools }: { tools: readonly ToolCall[] }) {
  return (
    <ul class="calls">
      {tools.map(({ id, name, arguments: given }) => <li key={id}>asks for <code>{name}({given})</code></li>)}
    </ul>
  );
}
