/** The page: the list of rooms, or the room that one is in. */

import { KeyPrompt } from "@wsserver/shared/components/KeyPrompt.js";
import { room } from "../state/here.js";
import { Lobby } from "./Lobby.js";
import { RoomView } from "./RoomView.js";

export function App() {
  const state = room.value;
  return (
    <>
      {state ? <RoomView state={state} /> : <Lobby />}
      <KeyPrompt />
    </>
  );
}
