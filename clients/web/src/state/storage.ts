/** What the browser remembers. Storage may be full or forbidden: the page works without it. */

const PREFIX = "wsserver.";

export class BrowserStorage {
  readonly #area: () => Storage;

  /** A function, since even naming the area throws where cookies are blocked. */
  constructor(area: () => Storage) {
    this.#area = area;
  }

  get<Value>(key: string): Value | null {
    try {
      const text = this.#area().getItem(PREFIX + key);
      return text === null ? null : (JSON.parse(text) as Value);
    } catch {
      return null;
    }
  }

  /** Returns whether it was kept. */
  set(key: string, value: unknown): boolean {
    try {
      this.#area().setItem(PREFIX + key, JSON.stringify(value));
      return true;
    } catch {
      return false;
    }
  }

  remove(key: string): void {
    try {
      this.#area().removeItem(PREFIX + key);
    } catch {
      // Nothing was kept then.
    }
  }
}

/** Kept for good. */
export const permanent = new BrowserStorage(() => localStorage);
/** Kept for this tab, also over a reload. */
export const perTab = new BrowserStorage(() => sessionStorage);
