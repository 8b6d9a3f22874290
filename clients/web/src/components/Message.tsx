/** One turn of the conversation. */

import { useEffect, useRef } from "preact/hooks";
import { ENDINGS, FiguresView, Waiting } from "@wsserver/shared/components/AnswerState.js";
import { CopyButton } from "@wsserver/shared/components/CopyButton.js";
import { Edit, Forward, Retry } from "@wsserver/shared/components/icons.js";
import { Markdown } from "@wsserver/shared/markdown/Markdown.js";
import { Answer, type Outcome, type Question } from "@wsserver/shared/state/answer.js";
import { ask, canContinue, continueAnswer, editing, retry, running, type Turn } from "../state/conversation.js";
import { settingsOpen } from "../state/settings.js";

export function Message({ turn, last, lastQuestion }: { turn: Turn; last: boolean; lastQuestion: boolean }) {
  if (turn instanceof Answer) return <AnswerView answer={turn} last={last} />;
  return <QuestionView question={turn} editable={lastQuestion} />;
}

function QuestionView({ question, editable }: { question: Question; editable: boolean }) {
  if (editing.value === question.id) return <EditView question={question} />;
  return (
    <article class="turn user" data-testid="message" data-role="user">
      <h2 class="hidden">You</h2>
      <div class="bubble">{question.text}</div>
      <div class="actions">
        <CopyButton text={() => question.text} label="Copy" />
        {editable && !running.value && (
          <button
            type="button"
            class="quiet"
            aria-label="Edit this question"
            title="Edit"
            onClick={() => (editing.value = question.id)}
            data-testid="edit"
          >
            <Edit />
          </button>
        )}
      </div>
    </article>
  );
}

function EditView({ question }: { question: Question }) {
  const area = useRef<HTMLTextAreaElement>(null);
  useEffect(() => {
    area.current?.focus();
    area.current?.setSelectionRange(question.text.length, question.text.length);
  }, []);
  const cancel = () => (editing.value = null);
  const send = () => void ask(area.current?.value ?? "", question.id);
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key === "Escape") {
      event.stopPropagation();
      cancel();
    } else if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      send();
    }
  };
  return (
    <article class="turn user" data-testid="message" data-role="user">
      <div class="edit">
        <textarea
          ref={area}
          aria-label="Edit the question"
          defaultValue={question.text}
          onKeyDown={onKeyDown}
          data-testid="edit-box"
        />
        <div class="row">
          <button type="button" class="pill" onClick={cancel}>Cancel</button>
          <button type="button" class="pill primary" onClick={send} data-testid="edit-send">Send</button>
        </div>
      </div>
    </article>
  );
}

function AnswerView({ answer, last }: { answer: Answer; last: boolean }) {
  const text = answer.shown.value;
  const busy = answer.busy.value;
  const outcome = answer.outcome.value;
  const dropped = answer.dropped.value;
  return (
    <article
      class={busy ? "turn assistant busy" : "turn assistant"}
      data-testid="message"
      data-role="assistant"
      data-state={outcome?.kind ?? answer.phase.value}
      aria-busy={busy}
    >
      <h2 class="hidden">Answer</h2>
      {dropped > 0 && <p class="note">The beginning of this chat no longer fits the model's memory.</p>}
      {text !== "" && <Markdown text={text} />}
      {busy && <Waiting answer={answer} empty={text === ""} />}
      {outcome && <Ending answer={answer} outcome={outcome} last={last} />}
      {!busy && (
        <div class="actions">
          {text !== "" && <CopyButton text={() => answer.text} label="Copy answer" />}
          {last && (
            <button
              type="button"
              class="quiet"
              aria-label="Answer again"
              title="Answer again"
              onClick={() => void retry()}
              data-testid="retry"
            >
              <Retry />
            </button>
          )}
          <FiguresView figures={answer.figures.value} model={answer.model} />
        </div>
      )}
    </article>
  );
}

interface EndingProps<Kind = Outcome> {
  answer: Answer;
  outcome: Kind;
  last: boolean;
}

function Ending({ answer, outcome, last }: EndingProps) {
  switch (outcome.kind) {
    case "complete":
      return null;
    case "error":
      return <Failure answer={answer} outcome={outcome} last={last} />;
    default:
      return (
        <div class="ending" data-testid="ending">
          <span class="tag">{ENDINGS[outcome.kind]}</span>
          {last && <ContinueButton answer={answer} />}
          {outcome.kind === "length" && last && !canContinue.value && (
            <button type="button" class="link" onClick={() => (settingsOpen.value = true)}>
              Allow longer answers
            </button>
          )}
        </div>
      );
  }
}

function Failure({ answer, outcome, last }: EndingProps<Outcome & { kind: "error" }>) {
  return (
    <div class="failure" role="alert" data-testid="failure" data-code={outcome.code}>
      <span>{outcome.message}</span>
      {last && (
        <span class="row">
          <button type="button" class="link" onClick={() => void retry()} data-testid="try-again">
            Try again
          </button>
          <ContinueButton answer={answer} />
        </span>
      )}
    </div>
  );
}

function ContinueButton({ answer }: { answer: Answer }) {
  // Without any text there is nothing to go on from.
  if (!canContinue.value || !answer.kept || answer.shown.value === "") return null;
  return (
    <button type="button" class="pill" onClick={continueAnswer} data-testid="continue">
      <Forward /> Continue
    </button>
  );
}
