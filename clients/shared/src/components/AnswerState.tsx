/** What an answer is doing, how it ended, and what it took. */

import type { Answer, Figures } from "../state/answer.js";

export const ENDINGS = {
  stopped: "Stopped",
  length: "Cut off at the length limit",
  timeout: "Cut off: it took too long",
};

export function Waiting({ answer, empty }: { answer: Answer; empty: boolean }) {
  const text = answer.stopping.value ? "Stopping…" : waitingText(answer);
  const figures = answer.figures.value;
  return (
    <div class="waiting" data-testid="progress">
      {empty && !answer.stopping.value && (
        <span class="dots" aria-hidden="true"><i /><i /><i /></span>
      )}
      {text && <span>{text}</span>}
      {!empty && !text && figures && <span class="facts">{figuresText(figures)}</span>}
    </div>
  );
}

function waitingText(answer: Answer): string {
  const position = answer.queuePosition.value;
  if (position !== null) return place(position);
  return answer.phase.value === "loading" ? "The model is loading…" : "";
}

export function FiguresView({ figures, model }: { figures: Figures | null; model: string | null }) {
  if (!figures) return null;
  const title = figures.timeToFirstToken === null ? "" : `First token after ${Math.round(figures.timeToFirstToken)} ms`;
  return (
    <span class="facts" title={title} data-testid="figures">
      {model && <span class="model-name">{model} · </span>}
      {figuresText(figures)}
    </span>
  );
}

function figuresText({ tokens, tokensPerSecond }: Figures): string {
  const count = `${tokens.toLocaleString("en")} token${tokens === 1 ? "" : "s"}`;
  if (tokensPerSecond === null) return count;
  const rate = tokensPerSecond >= 10 ? Math.round(tokensPerSecond) : tokensPerSecond.toFixed(1);
  return `${count} · ${rate.toLocaleString("en")} tokens/s`;
}

/** A place in line, from 1, in words. */
export function place(position: number): string {
  if (position === 1) return "Next in line";
  const teen = position % 100 >= 11 && position % 100 <= 13;
  const ending = teen ? "th" : (["th", "st", "nd", "rd"][position % 10] ?? "th");
  return `${position}${ending} in line`;
}
