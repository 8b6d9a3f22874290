/** The rooms that there are, read again while the list is looked at. */

import { signal } from "@preact/signals";
import type { RoomSummary } from "@wsserver/client";
import { client } from "@wsserver/shared/state/connection.js";

export const rooms = signal<readonly RoomSummary[] | null>(null);

const POLL = 5_000;

/** Returns how to stop. */
export function watchRooms(): () => void {
  const read = async () => {
    if (document.hidden || client.status.state !== "connected") return;
    try {
      rooms.value = await client.listRooms();
    } catch {
      // The list shown stays; the connection's state says why.
    }
  };
  const off = client.on("ready", () => void read());
  const timer = setInterval(() => void read(), POLL);
  void read();
  return () => {
    off();
    clearInterval(timer);
  };
}
