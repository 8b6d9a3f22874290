/**
 * A growing text, shown at most once a frame, and less often when showing it takes longer.
 *
 * Long answers make each drawing dearer. The next one waits at least as long as the last one took,
 * so that typing and scrolling keep half of the time, whatever the length.
 */

import { type ReadonlySignal, signal } from "@preact/signals";

const CHEAP = 12;

export class FrameText {
  readonly #shown = signal("");
  readonly #read: () => string;
  #scheduled = false;
  #notBefore = 0;

  constructor(read: () => string) {
    this.#read = read;
    this.#shown.value = read();
  }

  get shown(): ReadonlySignal<string> {
    return this.#shown;
  }

  /** The text changed. */
  touch(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    const wait = this.#notBefore - performance.now();
    if (wait > 16) setTimeout(() => this.#frame(), wait);
    else this.#frame();
  }

  /** Shows what there is at once: the answer ended, perhaps in a hidden tab without frames. */
  flush(): void {
    this.#shown.value = this.#read();
  }

  #frame(): void {
    requestAnimationFrame(() => {
      this.#scheduled = false;
      const began = performance.now();
      this.flush();
      // After this frame's layout and paint.
      setTimeout(() => {
        const cost = performance.now() - began;
        this.#notBefore = cost > CHEAP ? performance.now() + cost : 0;
      });
    });
  }
}
