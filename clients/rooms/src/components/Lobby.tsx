/** Before a room: one's name, the name of the room, and the rooms that there are. */

import { useEffect, useRef, useState } from "preact/hooks";
import { Logo } from "@wsserver/shared/components/icons.js";
import { StatusBadge, StatusBar } from "@wsserver/shared/components/Status.js";
import { ThemeButton } from "@wsserver/shared/components/ThemeButton.js";
import { readAddress } from "../state/address.js";
import { enter, refusal, userName } from "../state/here.js";
import { rooms, watchRooms } from "../state/lobby.js";

const NAME_LENGTH = 64;
const ROOM_LENGTH = 128;

export function Lobby() {
  const [address] = useState(() => readAddress(location));
  const [name, setName] = useState(userName.value);
  const [room, setRoom] = useState(address.room);
  const nameInput = useRef<HTMLInputElement>(null);
  const roomInput = useRef<HTMLInputElement>(null);

  useEffect(watchRooms, []);
  useEffect(() => (name === "" ? nameInput : roomInput).current?.focus(), []);

  const go = (roomId: string) => {
    if (name.trim() === "") nameInput.current?.focus();
    else if (roomId.trim() !== "") void enter(roomId.trim(), name.trim(), roomId === address.room ? address.invite : "");
  };
  const onSubmit = (event: Event) => {
    event.preventDefault();
    go(room);
  };
  return (
    <div class="main">
      <header class="header">
        <a class="quiet" href="../../" aria-label="Chat page" title="Chat alone with a model"><Logo size={22} /></a>
        <div class="spring" />
        <StatusBadge />
        <ThemeButton />
      </header>
      <main class="lobby">
        <h1>Rooms</h1>
        <p>Several people and a model in one conversation. Everybody sees the same.</p>
        <StatusBar />
        {refusal.value && <div class="failure" role="alert" data-testid="refusal">{refusal.value}</div>}
        <form onSubmit={onSubmit}>
          <label class="field">
            <span>Your name</span>
            <input
              ref={nameInput}
              value={name}
              maxLength={NAME_LENGTH}
              autocomplete="nickname"
              required
              onInput={(event) => setName(event.currentTarget.value)}
              data-testid="name"
            />
          </label>
          <label class="field">
            <span>Room</span>
            <input
              ref={roomInput}
              value={room}
              maxLength={ROOM_LENGTH}
              autocomplete="off"
              required
              onInput={(event) => setRoom(event.currentTarget.value)}
              data-testid="room"
            />
            <small>One that is not there yet is made, and yours.</small>
          </label>
          <button type="submit" class="pill primary" data-testid="enter">Enter</button>
        </form>
        <RoomList go={go} />
      </main>
    </div>
  );
}

function RoomList({ go }: { go: (roomId: string) => void }) {
  const list = rooms.value;
  if (!list || list.length === 0) return list && <p class="facts">Nobody is in a room right now.</p>;
  return (
    <section aria-label="Rooms that there are">
      <ul class="room-list">
        {list.map(({ roomId, title, participants }) => (
          <li key={roomId}>
            <button type="button" onClick={() => go(roomId)} data-testid="open-room">
              <strong>{title || roomId}</strong>
              <span class="facts">{people(participants)}</span>
            </button>
          </li>
        ))}
      </ul>
    </section>
  );
}

export function people(count: number): string {
  return count === 1 ? "1 person" : `${count.toLocaleString("en")} people`;
}
