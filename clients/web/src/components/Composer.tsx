/** Where questions are written. Enter sends, Shift+Enter makes a new line, Escape stops. */

import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { ArrowUp, StopSquare } from "@wsserver/shared/components/icons.js";
import { status } from "@wsserver/shared/state/connection.js";
import { currentModel } from "@wsserver/shared/state/models.js";
import { ask, editing, running, stop, turns } from "../state/conversation.js";

export function Composer() {
  const area = useRef<HTMLTextAreaElement>(null);
  const [text, setText] = useState("");
  const answer = running.value;
  const closed = status.value.state === "closed";

  useLayoutEffect(() => {
    const element = area.current;
    if (!element) return;
    element.style.height = "auto";
    element.style.height = `${element.scrollHeight}px`;
  }, [text]);
  useEffect(() => {
    // Not on touch screens, where it would raise the keyboard over the page.
    if (window.matchMedia("(pointer: fine)").matches) area.current?.focus();
  }, [turns.value.length === 0]);
  useEffect(() => {
    const onKeyDown = (event: KeyboardEvent) => {
      // In a dialog it closes that, and who stops to think there need not lose the answer.
      if (event.key === "Escape" && !document.querySelector("dialog[open]")) stop();
    };
    document.addEventListener("keydown", onKeyDown);
    return () => document.removeEventListener("keydown", onKeyDown);
  }, []);

  const send = () => {
    if (running.value || closed || text.trim() === "") return;
    void ask(text);
    setText("");
    area.current?.focus();
  };
  const onKeyDown = (event: KeyboardEvent) => {
    // Enter also ends the composition of a Chinese or Japanese word; that is not a wish to send.
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      send();
    } else if (event.key === "ArrowUp" && text === "" && !running.value) {
      const last = turns.value.findLast(({ role }) => role === "user");
      if (!last) return;
      event.preventDefault();
      editing.value = last.id;
    }
  };

  return (
    <form
      class="composer"
      onSubmit={(event) => {
        event.preventDefault();
        send();
      }}
    >
      <textarea
        ref={area}
        rows={1}
        value={text}
        placeholder={currentModel.value ? `Ask ${currentModel.value.id}` : "Ask something"}
        aria-label="Your question"
        enterkeyhint="send"
        autocomplete="off"
        onInput={(event) => setText(event.currentTarget.value)}
        onKeyDown={onKeyDown}
        data-testid="composer"
      />
      {answer ? (
        <button
          type="button"
          class="round"
          onClick={stop}
          disabled={answer.stopping.value}
          aria-label={answer.stopping.value ? "Stopping" : "Stop"}
          title={answer.stopping.value ? "Stopping…" : "Stop (Esc)"}
          data-testid="stop"
        >
          {answer.stopping.value ? <span class="spinner" /> : <StopSquare />}
        </button>
      ) : (
        <button
          type="submit"
          class="round"
          disabled={text.trim() === "" || closed}
          aria-label="Send"
          title="Send (Enter)"
          data-testid="send"
        >
          <ArrowUp />
        </button>
      )}
    </form>
  );
}
