/**
 * What the address says: which room, under which name. An invite stands behind the `#`, which
 * browsers send to nobody.
 */

export interface Address {
  room: string;
  name: string;
  invite: string;
}

export function readAddress({ search, hash }: Pick<Location, "search" | "hash">): Address {
  const query = new URLSearchParams(search);
  const fragment = new URLSearchParams(hash.slice(1));
  const trimmed = (value: string | null) => value?.trim() ?? "";
  return { room: trimmed(query.get("room")), name: trimmed(query.get("name")), invite: trimmed(fragment.get("invite")) };
}

/** The address of a room, for oneself or to give away. */
export function roomAddress(page: string, room: string, invite = ""): string {
  const url = new URL(page);
  url.search = room === "" ? "" : `?${new URLSearchParams({ room })}`;
  url.hash = invite === "" ? "" : `${new URLSearchParams({ invite })}`;
  return url.href;
}
