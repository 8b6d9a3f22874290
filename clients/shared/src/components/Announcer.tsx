/**
 * Tells a screen reader what happens: each finished paragraph of the answer once, and its end. The
 * visible text is no live region, for that would be read anew with every piece that comes.
 */

import { useEffect, useRef } from "preact/hooks";
import { effect } from "@preact/signals";
import type { Answer } from "../state/answer.js";

export function Announcer({ answer }: { answer: Answer | null }) {
  const region = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const element = region.current;
    if (!element || !answer?.busy.peek()) return;
    element.replaceChildren();
    const say = (text: string) => {
      if (text.trim() === "") return;
      const line = document.createElement("p");
      line.textContent = text;
      element.append(line);
    };
    let said = 0;
    return effect(() => {
      const text = answer.shown.value;
      if (answer.busy.value) {
        const end = text.lastIndexOf("\n\n");
        if (end > said) {
          say(text.slice(said, end));
          said = end;
        }
      } else {
        say(text.slice(said));
        said = text.length;
        say(ENDINGS[answer.outcome.value?.kind ?? "complete"]);
      }
    });
  }, [answer]);
  return <div ref={region} class="hidden" aria-live="polite" aria-atomic="false" aria-relevant="additions" />;
}

const ENDINGS = {
  complete: "Answer complete.",
  stopped: "Answer stopped.",
  length: "Answer cut off at the length limit.",
  timeout: "Answer cut off: it took too long.",
  // The failure itself is an alert.
  error: "",
};
