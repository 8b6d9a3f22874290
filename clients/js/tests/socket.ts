/** Stands for the network: a WebSocket whose other end is the test. */

import type { Socket } from "../src/connection.js";
import type { Frame } from "../src/messages.js";

export class TestSocket implements Socket {
  static opened: TestSocket[] = [];

  readonly sent: Frame[] = [];
  readonly url: string;
  readonly protocols: string[];
  readyState = 1;
  onopen: ((event: never) => void) | null = null;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onclose: ((event: { code: number; reason: string }) => void) | null = null;
  onerror: ((event: never) => void) | null = null;
  closedWith: number | undefined | null = null;

  constructor(url: string, protocols: string[] = []) {
    this.url = url;
    this.protocols = protocols;
    TestSocket.opened.push(this);
  }

  static get last(): TestSocket {
    const socket = TestSocket.opened.at(-1);
    if (!socket) throw new Error("no socket was opened");
    return socket;
  }

  send(data: string): void {
    this.sent.push(JSON.parse(data) as Frame);
  }

  close(code?: number): void {
    this.readyState = 3;
    this.closedWith = code;
  }

  /** The server says something. */
  say(frame: Record<string, unknown>): void {
    this.onmessage?.({ data: JSON.stringify(frame) });
  }

  /** The connection ends, as the browser tells it. */
  drop(code = 1006): void {
    this.readyState = 3;
    this.onclose?.({ code, reason: "" });
  }

  greet(more: Record<string, unknown> = {}): void {
    this.say({
      type: "connected",
      clientId: `c${TestSocket.opened.length}`,
      resumeToken: `t${TestSocket.opened.length}`,
      protocolVersion: 1,
      authRequired: false,
      heartbeatInterval: 20_000,
      capabilities: { streaming: true, resume: true, sessions: false },
      limits: { maxMessageBytes: 1_048_576 },
      ...more,
    });
  }

  /** The last message of this type that the client sent. */
  asked(type: string): Frame {
    const frame = this.sent.findLast((message) => message.type === type);
    if (!frame) throw new Error(`no ${type} was sent, only ${this.sent.map((m) => m.type)}`);
    return frame;
  }

  count(type: string): number {
    return this.sent.filter((message) => message.type === type).length;
  }
}

/** Lets settled promises run on, without any time passing. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 10; turn++) await Promise.resolve();
}
