/** What the server says of rooms. Pure declarations, as in messages.ts. */

import type { StreamState } from "./messages.js";

export interface RoomMember {
  userId: string;
  name?: string | null;
  role: string;
  state?: unknown;
  clientIds: string[];
}

export interface RoomEntry {
  seq: number;
  messageId: string;
  role: "user" | "assistant";
  clientId?: string | null;
  userId?: string | null;
  name?: string | null;
  text?: string;
  data?: unknown;
  streamId?: string;
  /** Of an answer that goes on with another one: that one's stream. */
  continues?: string;
  timestamp: number;
}

export interface RoomHistory {
  roomId: string;
  messages: RoomEntry[];
  hasMore: boolean;
}

export interface RoomSummary {
  roomId: string;
  title: string | null;
  participants: number;
}

export interface RoomJoined {
  type?: "room_joined";
  roomId: string;
  participants: number;
  members: RoomMember[];
  epoch: string;
  seq: number;
  recovered: boolean;
  messages: RoomEntry[];
  activeStreams: { streamId: string; clientId: string; model: string; state: StreamState; offset: number }[];
  role: string;
  settings?: Record<string, unknown>;
}
