/** The chats so far. */

import { useEffect, useRef, useState } from "preact/hooks";
import { signal } from "@preact/signals";
import { Close, Edit, NewChat, Trash } from "@wsserver/shared/components/icons.js";
import { chatQuery, chats } from "../state/chat-list.js";
import type { ChatSummary } from "../state/chats.js";
import {
  chatId,
  chatsAreOnServer,
  newChat,
  openChat,
  removeChat,
  renameChat,
  searchChats,
} from "../state/conversation.js";

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
        <input
          type="search"
          class="search"
          placeholder="Search"
          aria-label="Search in chats"
          value={chatQuery.value}
          onInput={(event) => searchChats(event.currentTarget.value)}
          data-testid="search-chats"
        />
        <ul>
          {chats.value.map((chat) => (
            <Chat key={chat.id} chat={chat} open={go(() => void openChat(chat.id))} />
          ))}
        </ul>
        {chats.value.length === 0 && chatQuery.value.trim() !== "" && <p class="nothing">No chat has that.</p>}
        <div class="foot">
          {chatsAreOnServer.value ? "Kept by the server." : "Kept in this browser only."}
        </div>
      </nav>
    </>
  );
}

function Chat({ chat: { id, title }, open }: { chat: ChatSummary; open: () => void }) {
  const [renaming, setRenaming] = useState(false);
  const current = id === chatId.value;
  if (renaming) return <li><Title id={id} title={title} done={() => setRenaming(false)} /></li>;
  return (
    <li class={current ? "current" : ""}>
      <button
        type="button"
        class="chat"
        aria-current={current ? "true" : undefined}
        onClick={open}
        title={title}
        data-testid="chat"
      >
        {title}
      </button>
      <button type="button" class="quiet" aria-label={`Rename ${title}`} onClick={() => setRenaming(true)}>
        <Edit />
      </button>
      <DeleteButton id={id} title={title} />
    </li>
  );
}

/** Enter, or turning to something else, takes the new title; Escape leaves the old one. */
function Title({ id, title, done }: { id: string; title: string; done: () => void }) {
  const input = useRef<HTMLInputElement>(null);
  const settled = useRef(false);
  useEffect(() => input.current?.select(), []);
  const settle = (text: string) => {
    // Leaving the page's tree blurs the field once more.
    if (settled.current) return;
    settled.current = true;
    if (text !== "" && text !== title) void renameChat(id, text);
    done();
  };
  const onKeyDown = (event: KeyboardEvent & { currentTarget: HTMLInputElement }) => {
    if (event.key === "Enter" && !event.isComposing) settle(event.currentTarget.value.trim());
    if (event.key !== "Escape") return;
    event.stopPropagation();
    settle("");
  };
  return (
    <input
      ref={input}
      class="title"
      defaultValue={title}
      maxLength={256}
      aria-label="Title"
      onKeyDown={onKeyDown}
      onBlur={(event) => settle(event.currentTarget.value.trim())}
      data-testid="chat-title"
    />
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
