/** The room's settings; who runs the room changes them, the others see them. */

import { useEffect, useRef, useState } from "preact/hooks";
import type { RoomSettings as Settings } from "@wsserver/client";
import { Close } from "@wsserver/shared/components/icons.js";
import { models } from "@wsserver/shared/state/models.js";
import { attempt, present, problem } from "../state/here.js";
import { moderates } from "../state/rights.js";
import type { RoomState } from "../state/room.js";
import { Banned, Invites } from "./Invites.js";

const ACCESS = { open: "Everybody", invited: "Who has an invite" };
const ASK = { members: "Members", everyone: "Everybody, viewers too", moderators: "Who runs the room" };
const BUSY = {
  queue: "waits in line",
  parallel: "is answered beside it",
  steer: "takes over from it",
  reject: "is refused",
};

export function RoomSettings({ state, close }: { state: RoomState; close: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const [draft, setDraft] = useState<Settings>({});
  const may = moderates(state.role);
  const shown: Settings = { ...state.settings, ...draft };
  const change = (settings: Settings) => setDraft({ ...draft, ...settings });
  // The options are replaced as one: what is not among them is the model's own.
  const setOption = (name: "temperature" | "maxTokens", value: number | undefined) => {
    const { [name]: _, ...others } = shown.options ?? {};
    change({ options: value === undefined ? others : { ...others, [name]: value } });
  };

  useEffect(() => dialog.current?.showModal(), []);

  const save = async (event: Event) => {
    event.preventDefault();
    if (await attempt(present()?.update(draft))) dialog.current?.close();
  };
  return (
    <dialog
      class="drawer"
      ref={dialog}
      aria-label="Room settings"
      onClose={close}
      // The backdrop belongs to the dialog, what is in front of it to its children.
      onClick={(event) => event.target === dialog.current && dialog.current?.close()}
      data-testid="room-settings"
    >
      <div class="drawer-content">
        <div class="head">
          <h2>{state.settings.title || state.roomId}</h2>
          <button type="button" class="quiet" onClick={() => dialog.current?.close()} aria-label="Close the settings"><Close /></button>
        </div>
        <form onSubmit={(event) => void save(event)}>
          <fieldset disabled={!may}>
            <Text label="Title" name="title" value={shown.title ?? ""} set={(title) => change({ title })} />
            <Choice
              label="Model"
              name="model"
              value={shown.model ?? ""}
              options={modelOptions(shown.model)}
              set={(model) => change({ model })}
            />
            <label class="field">
              <span>System prompt</span>
              <textarea
                rows={3}
                value={shown.systemPrompt ?? ""}
                placeholder="How the model should behave here"
                onInput={(event) => change({ systemPrompt: event.currentTarget.value })}
                data-testid="setting-systemPrompt"
              />
            </label>
            <Numeric
              label="Temperature"
              name="temperature"
              {...{ min: 0, max: 2, step: 0.1 }}
              value={shown.options?.temperature}
              placeholder="the model's own"
              set={(value) => setOption("temperature", value)}
            />
            <Numeric
              label="Longest answer, in tokens"
              name="maxTokens"
              {...{ min: 1, max: 1_000_000, step: 1 }}
              value={shown.options?.maxTokens}
              placeholder="512"
              set={(value) => setOption("maxTokens", value)}
            />
            <Choice label="Who may come in" name="access" value={shown.access ?? "open"} options={ACCESS} set={(access) => change({ access })} />
            <Choice label="Who may ask the model" name="ask" value={shown.ask ?? "members"} options={ASK} set={(ask) => change({ ask })} />
            <Choice
              label="A question while another is answered"
              name="whenBusy"
              value={shown.whenBusy ?? "queue"}
              options={BUSY}
              set={(whenBusy) => change({ whenBusy })}
            />
            <Numeric
              label="At most this many people"
              name="maxMembers"
              {...{ min: 1, max: 100_000, step: 1 }}
              value={shown.maxMembers}
              placeholder="no bound"
              set={(maxMembers) => maxMembers !== undefined && change({ maxMembers })}
            />
            <label class="check">
              <input
                type="checkbox"
                checked={shown.locked ?? false}
                onChange={(event) => change({ locked: event.currentTarget.checked })}
                data-testid="setting-locked"
              />
              Locked: nobody new comes in
            </label>
            {may && problem.value && <em class="field-error" role="alert">{problem.value}</em>}
            {may && (
              <button type="submit" class="pill primary" disabled={Object.keys(draft).length === 0} data-testid="save-settings">
                Save
              </button>
            )}
          </fieldset>
        </form>
        {!may && <p class="note">Owners and moderators change these.</p>}
        {may && <Invites state={state} />}
        {may && <Banned state={state} />}
      </div>
    </dialog>
  );
}

/** The room's own model need not be there any more. */
function modelOptions(current: string | undefined): Record<string, string> {
  const ids = models.value.map(({ id }) => id);
  const all = !current || ids.includes(current) ? ids : [current, ...ids];
  return { "": "The server's default", ...Object.fromEntries(all.map((id) => [id, id])) };
}

function Text({ label, name, value, set }: { label: string; name: string; value: string; set: (value: string) => void }) {
  return (
    <label class="field">
      <span>{label}</span>
      <input value={value} autocomplete="off" onInput={(event) => set(event.currentTarget.value)} data-testid={`setting-${name}`} />
    </label>
  );
}

interface NumericProps {
  label: string;
  name: string;
  min: number;
  max: number;
  step: number;
  value: number | undefined;
  placeholder: string;
  /** Given nothing where the field was emptied. */
  set(value: number | undefined): void;
}

function Numeric({ label, name, value, set, ...bounds }: NumericProps) {
  return (
    <label class="field">
      <span>{label}</span>
      <input
        type="number"
        {...bounds}
        value={value ?? ""}
        onInput={({ currentTarget: { valueAsNumber, validity } }) => {
          if (!validity.badInput) set(Number.isNaN(valueAsNumber) ? undefined : valueAsNumber);
        }}
        data-testid={`setting-${name}`}
      />
    </label>
  );
}

interface ChoiceProps<Value extends string> {
  label: string;
  name: string;
  value: Value;
  options: Record<Value, string>;
  set(value: Value): void;
}

export function Choice<Value extends string>({ label, name, value, options, set }: ChoiceProps<Value>) {
  return (
    <label class="field">
      <span>{label}</span>
      <select value={value} onChange={(event) => set(event.currentTarget.value as Value)} data-testid={`setting-${name}`}>
        {(Object.entries(options) as [Value, string][]).map(([id, text]) => <option key={id} value={id}>{text}</option>)}
      </select>
    </label>
  );
}
