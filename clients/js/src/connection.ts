/**
 * One connection to the server over many sockets: opens, listens for silence, and comes back.
 *
 * This room decides when there is a socket and when the next one is tried. It does not know what
 * the frames mean: the client above tells it when the handshake is done (`established`) and when
 * the server announced a drain (`expectDrain`). An intended `close` is final until `open`.
 */

import { Backoff, type BackoffOptions, mayReturn } from "./backoff.js";

/** The part of a browser's WebSocket that is used; Node's and the `ws` package's fit too. */
export interface Socket {
  readonly readyState: number;
  onopen: ((event: never) => void) | null;
  onmessage: ((event: { data: unknown }) => void) | null;
  onclose: ((event: { code: number; reason: string }) => void) | null;
  onerror: ((event: never) => void) | null;
  send(data: string): void;
  close(code?: number, reason?: string): void;
}

export type SocketClass = new (url: string, protocols?: string[]) => Socket;

export type Status =
  | { state: "connecting"; attempt: number }
  | { state: "connected"; draining: boolean }
  /** `retryAt` is in milliseconds since the epoch, `reason` why, as far as it is known. */
  | { state: "waiting"; retryAt: number; attempt: number; draining: boolean; reason: string }
  | { state: "closed"; code: number; reason: string };

export interface ConnectionOptions extends BackoffOptions {
  WebSocket?: SocketClass;
  /** Milliseconds from opening a socket to the end of the handshake. */
  connectTimeout?: number;
  /** Calls back when the page or the machine may have woken up; returns how to stop that. */
  onWake?: (wake: () => void) => () => void;
}

export interface ConnectionEvents {
  frame(data: string): void;
  /** The socket is gone. `final` says that no other one will be tried. */
  down(code: number, final: boolean): void;
  status(status: Status): void;
  /** A message that the server answers at once is wanted, to see whether it is there. */
  ping(): void;
}

const OPEN = 1;
const TRY_AGAIN_LATER = 1013;
const SUBPROTOCOL = "wsserver.v1.json";
/** After a wake-up a living server answers within this many milliseconds. */
const PROBE_TIMEOUT = 5_000;

export class Connection {
  readonly #url: string;
  readonly #events: ConnectionEvents;
  readonly #Socket: SocketClass;
  readonly #backoff: Backoff;
  readonly #connectTimeout: number;
  readonly #onWake: (wake: () => void) => () => void;
  #socket: Socket | null = null;
  #status: Status = { state: "closed", code: 1000, reason: "not opened" };
  #attempt = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #heartbeat: ReturnType<typeof setInterval> | undefined;
  #lastFrame = 0;
  #lastPing = 0;
  #returnAt: number | null = null;
  #unwake: (() => void) | null = null;

  constructor(url: string, events: ConnectionEvents, options: ConnectionOptions = {}) {
    const Socket = options.WebSocket ?? (globalThis.WebSocket as unknown as SocketClass | undefined);
    if (!Socket) throw new TypeError("No WebSocket here: pass one as options.WebSocket.");
    this.#url = url;
    this.#events = events;
    this.#Socket = Socket;
    this.#backoff = new Backoff(options);
    this.#connectTimeout = options.connectTimeout ?? 10_000;
    this.#onWake = options.onWake ?? browserWake;
  }

  get status(): Status {
    return this.#status;
  }

  /** Opens, or opens at once instead of waiting on. */
  open(): void {
    if (this.#socket) return;
    clearTimeout(this.#timer);
    this.#unwake ??= this.#onWake(() => this.#wake());
    this.#returnAt = null;
    this.#attempt++;
    this.#setStatus({ state: "connecting", attempt: this.#attempt });
    let socket: Socket;
    try {
      socket = new this.#Socket(this.#url, [SUBPROTOCOL]);
    } catch (error) {
      this.#finish(1006, error instanceof Error ? error.message : String(error));
      throw error;
    }
    this.#socket = socket;
    this.#lastFrame = Date.now();
    this.#timer = setTimeout(() => this.#drop(socket), this.#connectTimeout);
    socket.onmessage = ({ data }) => {
      this.#lastFrame = Date.now();
      if (typeof data === "string") this.#events.frame(data);
    };
    socket.onclose = ({ code, reason }) => this.#down(socket, code, reason);
    // A close event with the code always follows; there is nothing more to learn here.
    socket.onerror = () => undefined;
  }

  /** The handshake is done: the next failure starts from the shortest wait again. */
  established(heartbeatInterval: number): void {
    clearTimeout(this.#timer);
    this.#attempt = 0;
    this.#backoff.reset();
    this.#setStatus({ state: "connected", draining: false });
    this.#lastPing = Date.now();
    clearInterval(this.#heartbeat);
    this.#heartbeat = setInterval(() => this.#beat(heartbeatInterval), heartbeatInterval / 2);
  }

  expectDrain(reconnectAfter: number, spread: number): void {
    this.#returnAt = Date.now() + this.#backoff.within(reconnectAfter, spread);
    if (this.#status.state === "connected") this.#setStatus({ state: "connected", draining: true });
  }

  /** Returns whether it was handed to a living socket. */
  send(data: string): boolean {
    if (this.#socket?.readyState !== OPEN) return false;
    this.#socket.send(data);
    return true;
  }

  /** Ends for good: nothing brings it back but `open`. */
  close(code = 1000, reason = "closed by the client"): void {
    const socket = this.#socket;
    if (socket) this.#detach(socket, code === 1000 ? 1000 : undefined);
    if (this.#status.state === "closed") return;
    this.#finish(code, reason);
    this.#events.down(code, true);
  }

  /** The server can't take us up just now: tries again, as after a loss. */
  comeBack(reason: string): void {
    const socket = this.#socket;
    if (!socket) return;
    this.#detach(socket);
    this.#down(socket, TRY_AGAIN_LATER, reason);
  }

  #wake(): void {
    if (this.#status.state === "waiting") {
      // A draining server asked for this wait; a wake-up is no reason to come early.
      if (!this.#status.draining) this.open();
    } else if (this.#status.state === "connected" && this.#socket) {
      const socket = this.#socket;
      const asked = Date.now();
      this.#ping();
      setTimeout(() => {
        if (socket === this.#socket && this.#lastFrame < asked) this.#drop(socket);
      }, PROBE_TIMEOUT);
    }
  }

  /**
   * Counted from the unanswered ping, not from the last frame alone: a hidden tab's timers run
   * once a minute, and would find a healthy but idle connection silent for too long.
   */
  #beat(interval: number): void {
    const now = Date.now();
    const unanswered = this.#lastPing > this.#lastFrame;
    if (unanswered && now - this.#lastPing >= interval / 2) {
      if (this.#socket) this.#drop(this.#socket);
    } else if (now - this.#lastPing >= interval) this.#ping();
  }

  #ping(): void {
    this.#lastPing = Date.now();
    this.#events.ping();
  }

  /** Gives a silent socket up without waiting for its closing handshake, which may never come. */
  #drop(socket: Socket): void {
    this.#detach(socket);
    this.#down(socket, 1006, "no answer");
  }

  #detach(socket: Socket, code?: number): void {
    socket.onopen = socket.onmessage = socket.onclose = null;
    if (code === undefined) socket.close();
    else socket.close(code);
  }

  #down(socket: Socket, code: number, reason: string): void {
    if (socket !== this.#socket) return;
    clearInterval(this.#heartbeat);
    clearTimeout(this.#timer);
    if (!mayReturn(code)) {
      this.#finish(code, reason);
      this.#events.down(code, true);
      return;
    }
    this.#socket = null;
    const draining = this.#returnAt !== null;
    const wait = this.#returnAt === null ? this.#backoff.next() : this.#returnAt - Date.now();
    const retryAt = Date.now() + Math.max(0, wait);
    this.#events.down(code, false);
    const attempt = this.#attempt + 1;
    this.#setStatus({ state: "waiting", retryAt, attempt, draining, reason });
    this.#timer = setTimeout(() => this.open(), Math.max(0, wait));
  }

  #finish(code: number, reason: string): void {
    clearInterval(this.#heartbeat);
    clearTimeout(this.#timer);
    this.#socket = null;
    this.#attempt = 0;
    this.#unwake?.();
    this.#unwake = null;
    this.#setStatus({ state: "closed", code, reason });
  }

  #setStatus(status: Status): void {
    this.#status = status;
    this.#events.status(status);
  }
}

function browserWake(wake: () => void): () => void {
  if (typeof window === "undefined" || typeof document === "undefined") return () => undefined;
  const visible = () => {
    if (document.visibilityState === "visible") wake();
  };
  window.addEventListener("online", wake);
  document.addEventListener("visibilitychange", visible);
  return () => {
    window.removeEventListener("online", wake);
    document.removeEventListener("visibilitychange", visible);
  };
}
