/** Asks for the key of a server that wants one. */

import { useEffect, useRef } from "preact/hooks";
import { enterKey, keyError, needsKey } from "../state/connection.js";

export function KeyPrompt() {
  const dialog = useRef<HTMLDialogElement>(null);
  const key = useRef<HTMLInputElement>(null);
  const remember = useRef<HTMLInputElement>(null);
  const open = needsKey.value;
  useEffect(() => {
    if (!open) return;
    dialog.current?.showModal();
    key.current?.focus();
  }, [open]);
  if (!open) return null;
  const submit = (event: Event) => {
    event.preventDefault();
    const value = key.current?.value.trim();
    if (value) enterKey(value, remember.current?.checked ?? false);
  };
  return (
    <dialog class="card" ref={dialog} aria-label="Sign in" onClose={() => (needsKey.value = false)}>
      <form onSubmit={submit}>
        <h2>This server asks for a key</h2>
        <label class="field">
          <span>API key</span>
          <input ref={key} type="password" autocomplete="current-password" data-testid="key" />
        </label>
        {keyError.value && <em class="field-error" role="alert">{keyError.value}</em>}
        <label class="check">
          <input ref={remember} type="checkbox" /> Remember it in this browser
        </label>
        <button type="submit" class="pill primary">Connect</button>
      </form>
    </dialog>
  );
}
