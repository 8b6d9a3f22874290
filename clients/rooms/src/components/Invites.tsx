/** Letting people in who could not come otherwise: invites, and bans that are lifted. */

import { useState } from "preact/hooks";
import type { RoomRole } from "@wsserver/client";
import { CopyButton } from "@wsserver/shared/components/CopyButton.js";
import { roomAddress } from "../state/address.js";
import { attempt, present } from "../state/here.js";
import { invitable } from "../state/rights.js";
import type { RoomState } from "../state/room.js";
import { Choice } from "./RoomSettings.js";

const HOUR = 3_600_000;
const LASTING = { [HOUR]: "an hour", [24 * HOUR]: "a day", [7 * 24 * HOUR]: "a week" };

export function Invites({ state: { role, roomId } }: { state: RoomState }) {
  const [gift, setGift] = useState<RoomRole>("member");
  const [lasting, setLasting] = useState(`${24 * HOUR}`);
  const [link, setLink] = useState("");
  const make = async () => {
    const room = present();
    if (!room) return;
    await attempt(
      room.invite({ role: gift, expiresIn: Number(lasting) }).then((invite) => {
        setLink(roomAddress(location.href, roomId, invite));
      }),
    );
  };
  const roles = Object.fromEntries(invitable(role).map((one) => [one, one])) as Record<RoomRole, string>;
  return (
    <section aria-label="Invites" class="part">
      <h3>Invite people</h3>
      <Choice label="They come as" name="inviteRole" value={gift} options={roles} set={setGift} />
      <Choice label="The link is good for" name="inviteLasting" value={lasting} options={LASTING} set={setLasting} />
      <button type="button" class="pill" onClick={() => void make()} data-testid="make-invite">Make a link</button>
      {link !== "" && (
        <div class="row">
          <input class="link-box" readOnly value={link} aria-label="Invite link" onFocus={(event) => event.currentTarget.select()} data-testid="invite-link" />
          <CopyButton text={() => link} label="Copy the invite link" />
        </div>
      )}
    </section>
  );
}

export function Banned({ state: { banned } }: { state: RoomState }) {
  if (banned.length === 0) return null;
  return (
    <section aria-label="Banned" class="part">
      <h3>Banned while you were here</h3>
      <ul class="banned">
        {banned.map((userId) => (
          <li key={userId}>
            <span>{userId}</span>
            <button type="button" class="pill" onClick={() => void attempt(present()?.unban(userId))} data-testid="unban">Lift the ban</button>
          </li>
        ))}
      </ul>
    </section>
  );
}
