/** How the connection stands: a word in the header, and a bar where something can be done. */

import { useEffect, useState } from "preact/hooks";
import type { Status } from "@wsserver/client";
import { client, status } from "../state/connection.js";

/** Shorter breaks are over before anyone could read about them. */
const BAR_DELAY = 400;

export function StatusBadge() {
  const now = useNow(status.value.state === "waiting");
  const { text, tone } = describe(status.value, now);
  return (
    <div class={`status ${tone}`} data-testid="status" data-state={status.value.state} title={text}>
      <span class="dot" />
      <span class="status-text">{text}</span>
    </div>
  );
}

export function StatusBar() {
  const { state } = status.value;
  const late = useLate(state !== "connected", BAR_DELAY);
  const now = useNow(state === "waiting");
  if (!late || state === "connected") return null;
  const { text, tone } = describe(status.value, now);
  return (
    <div class={`bar ${tone}`} role="status" data-testid="status-bar">
      <span>{text}</span>
      {state === "waiting" && (
        <button type="button" class="link" onClick={() => client.reconnectNow()} data-testid="reconnect-now">
          now
        </button>
      )}
      {state === "closed" && (
        <button type="button" class="link" onClick={() => client.reconnectNow()} data-testid="reconnect-now">
          Connect
        </button>
      )}
    </div>
  );
}

function describe(current: Status, now: number): { text: string; tone: "good" | "busy" | "bad" } {
  switch (current.state) {
    case "connected":
      return current.draining
        ? { text: "Server is restarting", tone: "busy" }
        : { text: "Connected", tone: "good" };
    case "connecting":
      return { text: current.attempt > 1 ? "Reconnecting…" : "Connecting…", tone: "busy" };
    case "waiting": {
      const seconds = Math.max(0, Math.ceil((current.retryAt - now) / 1000));
      const when = seconds > 0 ? `in ${seconds} s` : "…";
      const what = current.draining ? "Server is restarting, back" : "Reconnecting";
      return { text: `${what} ${when}`, tone: "busy" };
    }
    case "closed":
      return { text: CLOSED[current.code] ?? "Disconnected", tone: "bad" };
  }
}

const CLOSED: Record<number, string> = {
  1008: "The server could not read this page's messages",
  1009: "A message was too large for the server",
  4501: "Not signed in",
  4503: "This server does not take connections from this page",
  4505: "You were removed by a moderator",
  4506: "Too many messages: the server closed the connection",
  4507: "Continued in another tab",
};

function useNow(ticking: boolean): number {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    if (!ticking) return;
    setNow(Date.now());
    const timer = setInterval(() => setNow(Date.now()), 500);
    return () => clearInterval(timer);
  }, [ticking]);
  return now;
}

function useLate(on: boolean, delay: number): boolean {
  const [late, setLate] = useState(false);
  useEffect(() => {
    if (!on) {
      setLate(false);
      return;
    }
    const timer = setTimeout(() => setLate(true), delay);
    return () => clearTimeout(timer);
  }, [on, delay]);
  return late;
}
