/** Who may do what in a room, as the server decides it: only what would be granted is offered. */

import type { RoomMember, RoomRole, RoomSettings } from "@wsserver/client";

export const ROLES: readonly RoomRole[] = ["owner", "moderator", "member", "viewer"];

const RANKS: Record<RoomRole, number> = { viewer: 0, member: 1, moderator: 2, owner: 3 };
const ASKERS = { everyone: "viewer", members: "member", moderators: "moderator" } as const;

export function moderates(role: RoomRole): boolean {
  return RANKS[role] >= RANKS.moderator;
}

export function mayWrite(role: RoomRole): boolean {
  return role !== "viewer";
}

export function mayAsk(role: RoomRole, { ask = "members" }: RoomSettings): boolean {
  return RANKS[role] >= RANKS[ASKERS[ask]];
}

/** The roles that one may give to a member; one's own can be lowered. */
export function gifts(own: RoomRole, member: RoomMember, isSelf: boolean): RoomRole[] {
  const others = ROLES.filter((role) => role !== member.role);
  if (isSelf) return others.filter((role) => RANKS[role] < RANKS[own]);
  return mayThrowOut(own, member, isSelf) ? others.filter((role) => own === "owner" || RANKS[role] < RANKS[own]) : [];
}

export function mayThrowOut(own: RoomRole, member: RoomMember, isSelf: boolean): boolean {
  if (isSelf || !moderates(own)) return false;
  return own === "owner" || RANKS[member.role as RoomRole] < RANKS[own];
}

/** The roles that an invite may give. */
export function invitable(own: RoomRole): RoomRole[] {
  return ROLES.filter((role) => own === "owner" || RANKS[role] < RANKS[own]);
}
