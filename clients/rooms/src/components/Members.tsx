/** Who is in the room, how they are there, and what one may do about them. */

import { Close } from "@wsserver/shared/components/icons.js";
import type { RoomMember, RoomRole } from "@wsserver/client";
import { roomAddress } from "../state/address.js";
import { attempt, present } from "../state/here.js";
import { isTyping } from "../state/presence.js";
import { gifts, mayThrowOut, ROLES } from "../state/rights.js";
import { article, called, type RoomState, stateOf } from "../state/room.js";
import { CopyButton } from "@wsserver/shared/components/CopyButton.js";
import { Avatar } from "./Line.js";
import { Menu, type MenuItem } from "./Menu.js";
import { useTicking } from "./useTicking.js";

export function Members({ state, close }: { state: RoomState; close: () => void }) {
  const { members, participants, roomId, typed } = state;
  const now = useTicking(Object.keys(typed).length > 0);
  const sorted = [...members].sort(
    (one, other) => rank(one) - rank(other) || called(one).localeCompare(called(other)),
  );
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key === "Escape") close();
  };
  return (
    <>
      <div class="shade sidebar-shade" onClick={close} />
      <aside class="sidebar members" aria-label="Members" onKeyDown={onKeyDown} data-testid="members">
        <div class="head">
          <h2>Members ({participants})</h2>
          <button type="button" class="quiet" onClick={close} aria-label="Close the list of members"><Close /></button>
        </div>
        <ul>
          {sorted.map((member) => <Member key={member.userId} state={state} member={member} now={now} />)}
        </ul>
        {participants > members.length && <p class="facts">and {participants - members.length} more</p>}
        <div class="foot row">
          <span>Link to this room</span>
          <CopyButton text={() => roomAddress(location.href, roomId)} label="Copy the link to this room" />
        </div>
      </aside>
    </>
  );
}

function rank({ role }: RoomMember): number {
  return ROLES.indexOf(role as RoomRole);
}

function Member({ state, member, now }: { state: RoomState; member: RoomMember; now: number }) {
  const name = called(member);
  const isSelf = member.userId === state.me.userId;
  const { away } = stateOf(member);
  const how = away ? "away" : isTyping(state, member.userId, now) ? "typing" : "reading";
  const items = actions(state, member, isSelf);
  return (
    <li data-testid="member" data-user={member.userId} data-state={how}>
      <Avatar name={name} />
      <span class={`presence ${how}`} title={how} />
      <span class="member-name">
        {name}{isSelf && <span class="facts"> you</span>}
        <span class="hidden">, {how}</span>
      </span>
      {member.role !== "member" && <span class="tag">{member.role}</span>}
      {items.length > 0 && <Menu label={`What to do about ${isSelf ? "yourself" : name}`} items={items} />}
    </li>
  );
}

function actions(state: RoomState, member: RoomMember, isSelf: boolean): MenuItem[] {
  const { userId } = member;
  const items: MenuItem[] = gifts(state.role, member, isSelf).map((role) => ({
    label: isSelf ? `Become ${article(role)}` : `Make ${article(role)}`,
    act: () => void attempt(present()?.setRole(userId, role)),
  }));
  if (mayThrowOut(state.role, member, isSelf)) {
    items.push({ label: "Send out", act: () => void attempt(present()?.kick(userId)), bad: true });
    items.push({ label: "Ban", act: () => void attempt(present()?.ban(userId)), bad: true });
  }
  return items;
}
