/** A room: what is said, who is there, and where one writes. */

import { useState } from "preact/hooks";
import { Close, Leave, Logo, People, Sliders } from "@wsserver/shared/components/icons.js";
import { StatusBadge, StatusBar } from "@wsserver/shared/components/Status.js";
import { ThemeButton } from "@wsserver/shared/components/ThemeButton.js";
import { leave, problem } from "../state/here.js";
import type { RoomState } from "../state/room.js";
import { Composer } from "./Composer.js";
import { people } from "./Lobby.js";
import { Log } from "./Log.js";
import { Members } from "./Members.js";
import { RoomSettings } from "./RoomSettings.js";
import { Typists } from "./Typists.js";

export function RoomView({ state }: { state: RoomState }) {
  const [membersOpen, setMembersOpen] = useState(() => window.matchMedia("(min-width: 52rem)").matches);
  const [settingsOpen, setSettingsOpen] = useState(false);
  return (
    <div class="app">
      <div class="main">
        <Header
          state={state}
          membersOpen={membersOpen}
          toggleMembers={() => setMembersOpen(!membersOpen)}
          openSettings={() => setSettingsOpen(true)}
        />
        <main class="stage">
          <Log state={state} />
          <div class="dock">
            <StatusBar />
            <Problem />
            <Typists state={state} />
            <Composer state={state} />
          </div>
        </main>
      </div>
      {membersOpen && <Members state={state} close={() => setMembersOpen(false)} />}
      {settingsOpen && <RoomSettings state={state} close={() => setSettingsOpen(false)} />}
    </div>
  );
}

interface HeaderProps {
  state: RoomState;
  membersOpen: boolean;
  toggleMembers(): void;
  openSettings(): void;
}

function Header({ state, membersOpen, toggleMembers, openSettings }: HeaderProps) {
  const { roomId, settings, participants } = state;
  return (
    <header class="header">
      <a class="quiet" href="../../" aria-label="Chat page" title="Chat alone with a model"><Logo size={22} /></a>
      <h1 class="room-title" data-testid="room-title">{settings.title || roomId}</h1>
      {settings.locked && <span class="tag">locked</span>}
      {settings.access === "invited" && <span class="tag">invited only</span>}
      <div class="spring" />
      <StatusBadge />
      <button
        type="button"
        class="quiet counted"
        aria-label={`Members: ${people(participants)}`}
        title="Members"
        aria-expanded={membersOpen}
        onClick={toggleMembers}
        data-testid="toggle-members"
      >
        <People /> {participants}
      </button>
      <button type="button" class="quiet" aria-label="Room settings" title="Room settings" onClick={openSettings} data-testid="open-settings">
        <Sliders />
      </button>
      <ThemeButton />
      <button type="button" class="quiet" aria-label="Leave the room" title="Leave the room" onClick={() => void leave()} data-testid="leave">
        <Leave />
      </button>
    </header>
  );
}

/** What the server said no to, until one has read it. */
function Problem() {
  if (problem.value === "") return null;
  return (
    <div class="failure problem" role="alert" data-testid="problem">
      <span>{problem.value}</span>
      <button type="button" class="quiet" aria-label="Close" onClick={() => (problem.value = "")}><Close /></button>
    </div>
  );
}
