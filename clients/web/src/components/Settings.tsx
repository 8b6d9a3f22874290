/** How answers are made. An empty field leaves it to the server. */

import { useEffect, useRef } from "preact/hooks";
import { Close } from "@wsserver/shared/components/icons.js";
import {
  changedSettings,
  fieldErrors,
  resetSettings,
  setSetting,
  type SettingName,
  settings,
  settingsOpen,
} from "../state/settings.js";

interface Field {
  name: Exclude<SettingName, "system">;
  label: string;
  hint: string;
  placeholder: string;
  inputMode: "decimal" | "numeric";
}

const FIELDS: readonly Field[] = [
  { name: "temperature", label: "Temperature", hint: "0 is always the likeliest word, 2 is wild", placeholder: "default", inputMode: "decimal" },
  { name: "topP", label: "Top P", hint: "Considers the likeliest words up to this share, 0 to 1", placeholder: "default", inputMode: "decimal" },
  { name: "maxTokens", label: "Longest answer", hint: "In tokens; a token is about three quarters of a word", placeholder: "512", inputMode: "numeric" },
  { name: "seed", label: "Seed", hint: "The same seed and question give the same answer", placeholder: "random", inputMode: "numeric" },
];

export function Settings() {
  const dialog = useRef<HTMLDialogElement>(null);
  const open = settingsOpen.value;
  const close = () => (settingsOpen.value = false);

  useEffect(() => {
    const element = dialog.current;
    if (!open || !element) return;
    element.showModal();
    const wrong = element.querySelector<HTMLElement>("[aria-invalid=true]");
    (wrong ?? element.querySelector<HTMLElement>("textarea"))?.focus();
  }, [open]);

  if (!open) return null;
  return (
    <dialog
      class="drawer"
      ref={dialog}
      aria-label="Settings"
      onClose={close}
      // The backdrop belongs to the dialog, what is in front of it to its children.
      onClick={(event) => event.target === dialog.current && dialog.current?.close()}
      data-testid="settings"
    >
      <form method="dialog" class="drawer-content">
        <div class="head">
          <h2>Settings</h2>
          <button type="submit" class="quiet" aria-label="Close settings"><Close /></button>
        </div>
        <label class="field">
          <span>System prompt</span>
          <textarea
            rows={4}
            value={settings.value.system}
            placeholder="How the model should behave"
            onInput={(event) => setSetting("system", event.currentTarget.value)}
            aria-invalid={fieldErrors.value.system !== undefined}
            data-testid="setting-system"
          />
          <FieldError name="system" />
        </label>
        {FIELDS.map((field) => <NumberField key={field.name} field={field} />)}
        <div class="foot">
          <button type="button" class="pill" onClick={resetSettings} disabled={changedSettings.value === 0}>
            Back to defaults
          </button>
        </div>
      </form>
    </dialog>
  );
}

function NumberField({ field }: { field: Field }) {
  const { name, label, hint, placeholder, inputMode } = field;
  const wrong = fieldErrors.value[name] !== undefined;
  return (
    <label class="field">
      <span>{label}</span>
      <input
        value={settings.value[name]}
        placeholder={placeholder}
        inputMode={inputMode}
        autocomplete="off"
        aria-invalid={wrong}
        aria-describedby={`hint-${name}`}
        onInput={(event) => setSetting(name, event.currentTarget.value)}
        data-testid={`setting-${name}`}
      />
      <FieldError name={name} />
      <small id={`hint-${name}`}>{hint}</small>
    </label>
  );
}

function FieldError({ name }: { name: SettingName }) {
  const error = fieldErrors.value[name];
  return error ? <em class="field-error" role="alert" data-testid={`error-${name}`}>{error}</em> : null;
}
