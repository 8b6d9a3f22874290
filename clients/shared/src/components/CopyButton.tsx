/** Copies a text and says so for a moment. */

import { useEffect, useState } from "preact/hooks";
import { Check, Copy } from "./icons.js";

const SHOWN_FOR = 1_600;

export function CopyButton({ text, label }: { text: () => string; label: string }) {
  const [state, setState] = useState<"idle" | "copied" | "failed">("idle");
  useEffect(() => {
    if (state === "idle") return;
    const timer = setTimeout(() => setState("idle"), SHOWN_FOR);
    return () => clearTimeout(timer);
  }, [state]);
  const copy = () => {
    void copyText(text()).then((copied) => setState(copied ? "copied" : "failed"));
  };
  const said = { idle: label, copied: "Copied", failed: "Could not copy" }[state];
  return (
    <button type="button" class="quiet" onClick={copy} aria-label={said} title={said} data-testid="copy">
      {state === "copied" ? <Check /> : <Copy />}
    </button>
  );
}

/** The clipboard interface exists on HTTPS and localhost only; elsewhere the old way still works. */
async function copyText(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyBySelection(text);
  }
}

function copyBySelection(text: string): boolean {
  const focused = document.activeElement;
  const area = document.createElement("textarea");
  area.value = text;
  area.style.position = "fixed";
  area.style.opacity = "0";
  document.body.append(area);
  area.select();
  const copied = document.execCommand("copy");
  area.remove();
  if (focused instanceof HTMLElement) focused.focus();
  return copied;
}
