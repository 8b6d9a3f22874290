/** The page. */

import { Menu, NewChat, People, Sliders } from "@wsserver/shared/components/icons.js";
import { KeyPrompt } from "@wsserver/shared/components/KeyPrompt.js";
import { StatusBadge, StatusBar } from "@wsserver/shared/components/Status.js";
import { ThemeButton } from "@wsserver/shared/components/ThemeButton.js";
import { newChat, turns } from "../state/conversation.js";
import { changedSettings, settingsOpen } from "../state/settings.js";
import { Composer } from "./Composer.js";
import { Conversation } from "./Conversation.js";
import { ModelPicker } from "./ModelPicker.js";
import { Settings } from "./Settings.js";
import { Sidebar, sidebarOpen } from "./Sidebar.js";

export function App() {
  return (
    <div class="app">
      <Sidebar />
      <div class="main">
        <Header />
        <main class={turns.value.length === 0 ? "stage empty" : "stage"}>
          <Conversation />
          <div class="dock">
            <StatusBar />
            <Composer />
            <p class="fine">Answers can be wrong. Check what matters.</p>
          </div>
        </main>
      </div>
      <Settings />
      <KeyPrompt />
    </div>
  );
}

function Header() {
  return (
    <header class="header">
      <button
        type="button"
        class="quiet"
        aria-label="Chats"
        title="Chats"
        aria-expanded={sidebarOpen.value}
        onClick={() => (sidebarOpen.value = !sidebarOpen.value)}
        data-testid="toggle-sidebar"
      >
        <Menu />
      </button>
      <ModelPicker />
      <div class="spring" />
      <StatusBadge />
      <button type="button" class="quiet" aria-label="New chat" title="New chat" onClick={newChat} data-testid="new-chat">
        <NewChat />
      </button>
      <a class="quiet" href="apps/rooms/" aria-label="Rooms" title="Rooms: ask together with others" data-testid="rooms-link">
        <People />
      </a>
      <ThemeButton />
      <button
        type="button"
        class="quiet marked"
        aria-label="Settings"
        title="Settings"
        onClick={() => (settingsOpen.value = true)}
        data-testid="open-settings"
      >
        <Sliders />
        {changedSettings.value > 0 && <span class="mark" />}
      </button>
    </header>
  );
}
