/**
 * Where one writes: to everybody, or to a model in front of everybody. Enter sends, Shift+Enter
 * makes a new line, and with Ctrl (or ⌘) Enter asks the model whatever is chosen.
 */

import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { ArrowUp } from "@wsserver/shared/components/icons.js";
import { models } from "@wsserver/shared/state/models.js";
import { permanent } from "@wsserver/shared/state/storage.js";
import { status } from "@wsserver/shared/state/connection.js";
import { typed } from "../state/presence.js";
import { mayAsk, mayWrite } from "../state/rights.js";
import type { RoomState } from "../state/room.js";
import { ask, say } from "../state/talking.js";

type Mode = "say" | "ask";

export function Composer({ state }: { state: RoomState }) {
  const area = useRef<HTMLTextAreaElement>(null);
  const [text, setText] = useState("");
  const [model, setModel] = useState("");
  const [chosen, setChosen] = useState<Mode>(permanent.get<Mode>("rooms.mode") ?? "say");
  const may = { say: mayWrite(state.role), ask: mayAsk(state.role, state.settings) };
  const mode = may[chosen] ? chosen : chosen === "say" ? "ask" : "say";
  const entered = state.epoch !== "";
  const silent = entered && !may.say && !may.ask;
  const closed = !entered || silent || status.value.state === "closed";

  useLayoutEffect(() => {
    const element = area.current;
    if (!element) return;
    element.style.height = "auto";
    element.style.height = `${element.scrollHeight}px`;
  }, [text]);
  useEffect(() => {
    // Not on touch screens, where it would raise the keyboard over the page.
    if (entered && window.matchMedia("(pointer: fine)").matches) area.current?.focus();
  }, [entered]);

  const choose = (next: Mode) => {
    setChosen(next);
    permanent.set("rooms.mode", next);
    area.current?.focus();
  };
  const send = (how: Mode) => {
    if (closed || !may[how] || text.trim() === "") return;
    if (how === "ask") ask(text, model);
    else say(text);
    setText("");
    area.current?.focus();
  };
  const onKeyDown = (event: KeyboardEvent) => {
    // Enter also ends the composition of a Chinese or Japanese word; that is not a wish to send.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    send(event.ctrlKey || event.metaKey ? "ask" : mode);
  };
  const onInput = (value: string) => {
    setText(value);
    if (value !== "" && may.say) typed();
  };

  if (silent) return <p class="note" data-testid="silent">You are a viewer here: you can read along.</p>;
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        send(mode);
      }}
    >
      <div class="modes">
        <div class="switch" role="radiogroup" aria-label="Who is meant">
          <ModeButton label="To everyone" mode="say" chosen={mode} may={may.say} choose={choose} />
          <ModeButton label="Ask the model" mode="ask" chosen={mode} may={may.ask} choose={choose} />
        </div>
        {mode === "ask" && models.value.length > 1 && <ModelChoice state={state} model={model} setModel={setModel} />}
      </div>
      <div class="composer">
        <textarea
          ref={area}
          rows={1}
          value={text}
          disabled={closed}
          placeholder={mode === "ask" ? "Ask in front of everyone" : "Say something"}
          title={may.ask ? "Ctrl+Enter asks the model" : undefined}
          aria-label={mode === "ask" ? "Your question to the model" : "Your message to everyone"}
          enterkeyhint="send"
          autocomplete="off"
          onInput={(event) => onInput(event.currentTarget.value)}
          onKeyDown={onKeyDown}
          data-testid="composer"
        />
        <button type="submit" class="round" disabled={closed || text.trim() === ""} aria-label={mode === "ask" ? "Ask" : "Send"} data-testid="send">
          <ArrowUp />
        </button>
      </div>
    </form>
  );
}

interface ModeButtonProps {
  label: string;
  mode: Mode;
  chosen: Mode;
  may: boolean;
  choose(mode: Mode): void;
}

/** A native radio button: arrows move between the two. */
function ModeButton({ label, mode, chosen, may, choose }: ModeButtonProps) {
  return (
    <label class={mode === chosen ? "chosen-mode" : ""}>
      <input
        type="radio"
        name="mode"
        class="hidden"
        checked={mode === chosen}
        disabled={!may}
        onChange={() => choose(mode)}
        data-testid={`mode-${mode}`}
      />
      {label}
    </label>
  );
}

interface ModelChoiceProps {
  state: RoomState;
  model: string;
  setModel(model: string): void;
}

function ModelChoice({ state, model, setModel }: ModelChoiceProps) {
  const own = state.settings.model ?? models.value.find((one) => one.default)?.id;
  return (
    <select value={model} aria-label="Model" onChange={(event) => setModel(event.currentTarget.value)} data-testid="model">
      <option value="">{own ? `${own} (the room's)` : "The room's model"}</option>
      {models.value.map(({ id, status: how }) => (
        <option key={id} value={id} disabled={how === "failed" || how === "unloaded"}>{id}{how === "ready" ? "" : ` (${how})`}</option>
      ))}
    </select>
  );
}
