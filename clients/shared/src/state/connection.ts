/**
 * The one connection of a page: who we are to the server and how it stands.
 *
 * Without a key the server knows us by a name that this browser made up and keeps: our
 * conversations are ours in every tab and after a restart, and nobody else's.
 */

import { computed, signal } from "@preact/signals";
import { type Capabilities, connect, type Credentials, newId, type Status } from "@wsserver/client";
import { permanent, perTab } from "./storage.js";

export const status = signal<Status>({ state: "connecting", attempt: 1 });
export const capabilities = signal<Partial<Capabilities>>({});
export const needsKey = signal(false);
export const keyError = signal("");

export const online = computed(() => status.value.state === "connected");

export const client = connect(socketUrl(document.baseURI, socketPath()), { credentials: proof });

client.on("status", (next) => {
  status.value = next;
  if (next.state !== "closed" || client.refused?.code !== "unauthorized") return;
  keyError.value = storedKey() === null ? "" : client.refused.message;
  needsKey.value = true;
});

client.on("ready", ({ connected }) => {
  capabilities.value = connected.capabilities;
  needsKey.value = false;
});

export function enterKey(apiKey: string, remember: boolean): void {
  forgetKey();
  (remember ? permanent : perTab).set("key", apiKey);
  client.reconnectNow();
}

export function forgetKey(): void {
  permanent.remove("key");
  perTab.remove("key");
}

/** The page may lie below a path of a proxy: it says where the socket is, seen from itself. */
function socketPath(): string {
  return document.querySelector<HTMLMetaElement>("meta[name=wsserver-socket]")?.content ?? "ws";
}

export function socketUrl(base: string, path: string): string {
  const url = new URL(path, base);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  url.search = url.hash = "";
  return url.href;
}

function proof({ authRequired }: { authRequired: boolean }): Credentials | null {
  const apiKey = storedKey();
  if (apiKey !== null) return { apiKey };
  return authRequired ? null : { userId: userId() };
}

function storedKey(): string | null {
  return perTab.get<string>("key") ?? permanent.get<string>("key");
}

function userId(): string {
  const known = permanent.get<string>("user");
  if (known !== null) return known;
  const made = `web-${newId()}`;
  permanent.set("user", made);
  return made;
}
