/** What the browser remembers. Storage may be full or forbidden: the page works without it. */

const PREFIX = "wsserver.";

export class BrowserStorage {
  readonly #area: () => Storage;

  /** A function, since even naming the area throws where cookies are blocked. */
  constructor(area: () => Storage) {
    this.#area = area;
  }

  /** The key as the browser knows it. */
  name(key: string): string {
    return PREFIX + key;
  }

  get<Value>(key: string): Value | null {
    try {
      const text = this.#area().getItem(this.name(key));
      return text === null ? null : (JSON.parse(text) as Value);
    } catch {
      return null;
    }
  }

  /** Returns whether it was kept. */
  set(key: string, value: unknown): boolean {
    try {
      this.#area().setItem(this.name(key), JSON.stringify(value));
      return true;
    } catch {
      return false;
    }
  }

  remove(key: string): void {
    try {
      this.#area().removeItem(this.name(key));
    } catch {
      // Nothing was kept then.
    }
  }
}

/** Kept for good. */
export const permanent = new BrowserStorage(() => localStorage);
/** Kept for this tab, also over a reload. */
export const perTab = new BrowserStorage(() => sessionStorage);
