/** The chats so far. */

import { useEffect, useState } from "preact/hooks";
import { signal } from "@preact/signals";
import { chatId, chats, chatsAreOnServer, newChat, openChat, removeChat } from "../state/conversation.js";
import { Close, NewChat, Trash } from "./icons.js";

export const sidebarOpen = signal(false);

export function Sidebar() {
  const open = sidebarOpen.value;
  if (!open) return null;
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key !== "Escape") return;
    event.stopPropagation();
    sidebarOpen.value = false;
  };
  const go = (move: () => void) => () => {
    move();
    if (window.matchMedia("(max-width: 52rem)").matches) sidebarOpen.value = false;
  };
  return (
    <>
      <div class="shade sidebar-shade" onClick={() => (sidebarOpen.value = false)} />
      <nav class="sidebar" aria-label="Chats" onKeyDown={onKeyDown} data-testid="sidebar">
        <div class="head">
          <h2>Chats</h2>
          <button type="button" class="quiet" onClick={() => (sidebarOpen.value = false)} aria-label="Close the list of chats">
            <Close />
          </button>
        </div>
        <button type="button" class="new-chat" onClick={go(newChat)}>
          <NewChat /> New chat
        </button>
        <ul>
          {chats.value.map(({ id, title }) => (
            <li key={id} class={id === chatId.value ? "current" : ""}>
              <button
                type="button"
                class="chat"
                aria-current={id === chatId.value ? "true" : undefined}
                onClick={go(() => void openChat(id))}
                title={title}
                data-testid="chat"
              >
                {title}
              </button>
              <DeleteButton id={id} title={title} />
            </li>
          ))}
        </ul>
        <div class="foot">
          {chatsAreOnServer.value ? "Kept by the server." : "Kept in this browser only."}
        </div>
      </nav>
    </>
  );
}

/** Asks once more by changing itself, for there is no way back. */
function DeleteButton({ id, title }: { id: string; title: string }) {
  const [sure, setSure] = useState(false);
  useEffect(() => {
    if (!sure) return;
    const timer = setTimeout(() => setSure(false), 3_000);
    return () => clearTimeout(timer);
  }, [sure]);
  return (
    <button
      type="button"
      class={sure ? "quiet sure" : "quiet"}
      aria-label={sure ? `Really delete ${title}` : `Delete ${title}`}
      onClick={() => (sure ? void removeChat(id) : setSure(true))}
    >
      {sure ? "Delete?" : <Trash />}
    </button>
  );
}
