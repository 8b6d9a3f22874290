/** What the server says of a stream. Pure declarations, as in messages.ts. */

import type { ErrorFields, FinishReason, StreamState, TokenLogprob, ToolCall, Usage } from "./messages.js";

export interface StreamStart {
  type: "stream_start";
  streamId: string;
  requestId?: string;
  model?: string;
  /** Which model was asked, where a fallback answers in its place. */
  requestedModel?: string;
  /** The question, where it was a prompt of at most 64 KiB. */
  prompt?: string;
  sessionId?: string;
  roomId?: string;
  clientId?: string;
  /** In a room: who asked, and the name to show. */
  userId?: string;
  name?: string;
  messageId?: string;
  userMessageId?: string;
  queuePosition?: number;
  contextTokens?: number;
  droppedMessages?: number;
  continues?: string;
  seq?: number;
}

export interface StreamToken {
  type: "stream_token";
  streamId: string;
  token: string;
  position: number;
  count: number;
  /** Length of the answer so far in UTF-8 bytes, this piece included. */
  offset: number;
  timestamp?: number;
  roomId?: string;
  logprobs?: TokenLogprob[];
}

export interface StreamSnapshot {
  type: "stream_snapshot";
  streamId: string;
  requestId?: string;
  text: string;
  fromOffset: number;
  offset: number;
  position: number;
  state: StreamState;
  queuePosition?: number;
  model?: string;
  roomId?: string;
  clientId?: string;
  /** In a room: who asked, and the name to show. */
  userId?: string;
  name?: string;
  sessionId?: string;
  messageId?: string;
}

export interface StreamRewind {
  type: "stream_rewind";
  streamId: string;
  offset: number;
}

export interface StreamProgress {
  type: "stream_progress";
  streamId: string;
  tokenCount: number;
  elapsedTime: number;
  tokensPerSecond: number;
}

export interface QueuePosition {
  type: "queue_position";
  streamId?: string;
  requestId?: string;
  position: number;
}

export interface StreamComplete {
  type: "stream_complete";
  streamId: string;
  requestId?: string;
  totalTokens: number;
  /** Milliseconds, as is `timeToFirstToken`. */
  duration: number;
  timeToFirstToken: number | null;
  finishReason: FinishReason;
  usage: Usage;
  offset: number;
  toolCalls?: ToolCall[];
  model?: string;
  requestedModel?: string;
  saved?: boolean;
  roomId?: string;
  seq?: number;
}

export interface StreamStopped {
  type: "stream_stopped";
  streamId: string;
  requestId?: string;
  totalTokens: number;
  offset: number;
  reason: "client" | "interrupt" | "moderator" | "disconnect" | "unloaded" | "shutdown";
  stoppedBy: string;
  model?: string;
  requestedModel?: string;
  saved?: boolean;
  roomId?: string;
  seq?: number;
}

export interface StreamErrorEvent extends ErrorFields {
  type: "stream_error";
  streamId?: string;
  offset?: number;
  saved?: boolean;
  roomId?: string;
  seq?: number;
  sessionId?: string;
  messageId?: string;
}

export type StreamEnd = StreamComplete | StreamStopped | StreamErrorEvent;

export type StreamEvent =
  | StreamStart
  | StreamToken
  | StreamSnapshot
  | StreamRewind
  | StreamProgress
  | QueuePosition
  | StreamEnd;
