/** What a person said, or asked. */

import type { ComponentChildren } from "preact";
import type { Entry, RoomState } from "../state/room.js";
import { drop, type Outgoing } from "../state/talking.js";

export function Line({ state, entry, joined }: { state: RoomState; entry: Entry; joined: boolean }) {
  const isOwn = entry.userId !== null && entry.userId === state.me.userId;
  const asks = entry.streamId !== null;
  const name = entry.name ?? entry.userId ?? "Someone";
  return (
    <article class={joined ? "line joined" : "line"} data-testid="entry" data-role="user" data-seq={entry.seq}>
      {joined ? <h2 class="hidden">{name}</h2> : <Heading name={name} own={isOwn} timestamp={entry.timestamp} />}
      <div class={asks ? "said asked" : "said"}>
        {asks && <Asks />}
        {entry.text ?? "…"}
      </div>
      {entry.data !== undefined && <pre class="data" tabIndex={0}>{JSON.stringify(entry.data, null, 2)}</pre>}
    </article>
  );
}

function Asks() {
  return <><span class="tag">asks</span>{" "}</>;
}

interface HeadingProps {
  name: string;
  own?: boolean;
  timestamp?: number;
  model?: boolean;
  children?: ComponentChildren;
}

export function Heading({ name, own = false, timestamp, model = false, children }: HeadingProps) {
  return (
    <header class="who">
      <Avatar name={name} model={model} />
      <h2>{name}</h2>
      {own && <span class="facts">you</span>}
      {model && <span class="tag">model</span>}
      {timestamp !== undefined && <Time timestamp={timestamp} />}
      {children}
    </header>
  );
}

/** A colour of one's own, the same on every screen. */
export function Avatar({ name, model = false }: { name: string; model?: boolean }) {
  let hue = 0;
  for (const letter of name) hue = (hue * 31 + (letter.codePointAt(0) ?? 0)) % 360;
  return (
    <span class={model ? "avatar model" : "avatar"} style={{ "--hue": `${hue}` }} aria-hidden="true">
      {[...name][0]?.toUpperCase()}
    </span>
  );
}

function Time({ timestamp }: { timestamp: number }) {
  const date = new Date(timestamp);
  const today = date.toDateString() === new Date().toDateString();
  const time = date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  return (
    <time class="facts" dateTime={date.toISOString()} title={date.toLocaleString()}>
      {today ? time : `${date.toLocaleDateString([], { day: "numeric", month: "short" })} ${time}`}
    </time>
  );
}

/** Not in the log yet: on its way, or refused. */
export function OutgoingLine({ item }: { item: Outgoing }) {
  const { key, kind, text, error, again, cancel } = item;
  return (
    <article class="line pending" data-testid="outgoing" data-state={error === null ? "sending" : "failed"}>
      <h2 class="hidden">You</h2>
      <div class="said">{kind === "ask" && <Asks />}{text}</div>
      {error === null ? (
        <p class="facts">
          Sending … {cancel && <button type="button" class="link" onClick={cancel}>Don't send</button>}
        </p>
      ) : (
        <div class="failure" role="alert">
          <span>{error}</span>
          <span class="row">
            <button type="button" class="link" onClick={() => { drop(key); again(); }}>Send again</button>
            <button type="button" class="link" onClick={() => drop(key)}>Discard</button>
          </span>
        </div>
      )}
    </article>
  );
}
