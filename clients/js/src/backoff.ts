/**
 * When to come back: full jitter, so that the clients of a restarted server do not arrive together.
 */

export interface BackoffOptions {
  /** Milliseconds of the first ceiling; it doubles with each failure. */
  base?: number;
  /** Milliseconds that the ceiling never passes. */
  cap?: number;
  random?: () => number;
}

export class Backoff {
  readonly #base: number;
  readonly #cap: number;
  readonly #random: () => number;
  #failures = 0;

  constructor({ base = 500, cap = 20_000, random = Math.random }: BackoffOptions = {}) {
    this.#base = base;
    this.#cap = cap;
    this.#random = random;
  }

  /** Milliseconds to wait: anything between 0 and the ceiling of this failure. */
  next(): number {
    const ceiling = Math.min(this.#cap, this.#base * 2 ** Math.min(this.#failures, 30));
    this.#failures++;
    return this.#random() * ceiling;
  }

  /** A moment within the window that a draining server asked for. */
  within(after: number, spread: number): number {
    return after + this.#random() * spread;
  }

  reset(): void {
    this.#failures = 0;
  }
}

/** Whether a client may come back after this close code without changing anything. */
export function mayReturn(code: number): boolean {
  if (code >= 4000 && code <= 4499) return true;
  return [1001, 1005, 1006, 1011, 1012, 1013].includes(code);
}
