/** The page. */

import { newChat, turns } from "../state/conversation.js";
import { changedSettings, settingsOpen } from "../state/settings.js";
import { theme, toggleTheme } from "../state/theme.js";
import { Composer } from "./Composer.js";
import { Conversation } from "./Conversation.js";
import { Menu, Moon, NewChat, Sliders, Sun } from "./icons.js";
import { KeyPrompt } from "./KeyPrompt.js";
import { ModelPicker } from "./ModelPicker.js";
import { Settings } from "./Settings.js";
import { Sidebar, sidebarOpen } from "./Sidebar.js";
import { StatusBadge, StatusBar } from "./Status.js";

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
  const other = theme.value === "dark" ? "light" : "dark";
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
      <button
        type="button"
        class="quiet"
        aria-label={`Switch to ${other} colours`}
        title={`Switch to ${other} colours`}
        onClick={toggleTheme}
        data-testid="theme"
      >
        {theme.value === "dark" ? <Sun /> : <Moon />}
      </button>
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
