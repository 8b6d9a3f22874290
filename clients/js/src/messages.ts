/**
 * The protocol's messages as types, version 1. Pure declarations: nothing here runs.
 *
 * Field names are the wire's. Requests lack `type` and `requestId`, which the client adds. An
 * event may carry more fields than these (a newer server): they are ignored, never an error.
 */

export type * from "./room-messages.js";
export type * from "./stream-messages.js";

import type { RoomJoined } from "./room-messages.js";

export type Role = "system" | "user" | "assistant" | "tool";

export interface ChatMessage {
  role: Role;
  content: string;
  name?: string;
  /** Of an assistant's turn: the calls that it made, as its result told them. */
  toolCalls?: ToolCall[];
  /** Of a tool's turn: the call whose result `content` is. */
  toolCallId?: string;
}

export interface Tool {
  type: "function";
  /** `parameters` is a JSON Schema of type `object`. */
  function: { name: string; description?: string; parameters?: Record<string, unknown> };
}

export type ToolChoice = "auto" | "none" | "required" | { name: string };

export interface ToolCall {
  id: string;
  name: string;
  /** The text of a JSON object. A model wrote it: check it. */
  arguments: string;
}

export interface GenerationOptions {
  maxTokens?: number;
  /** 0..2; 0 is greedy. */
  temperature?: number;
  topP?: number;
  topK?: number;
  minP?: number;
  typicalP?: number;
  repetitionPenalty?: number;
  presencePenalty?: number;
  frequencyPenalty?: number;
  seed?: number;
  stop?: string | string[];
  bannedStrings?: string[];
  logitBias?: Record<string, number>;
  jsonSchema?: Record<string, unknown>;
  grammar?: string;
  regex?: string;
  logprobs?: number;
  tools?: Tool[];
  toolChoice?: ToolChoice;
  cache?: boolean;
  priority?: number;
  /** Milliseconds. */
  timeout?: number;
  /** A `stream_progress` every so many tokens; 0 = never. */
  progressEvery?: number;
  /** Milliseconds between two pieces; 0 = a frame per token. */
  tokenInterval?: number;
  onDisconnect?: "cancel" | "detach";
}

/** Exactly one of `prompt` and `messages`, but for `regenerate`, which needs neither. */
export interface GenerationInput {
  prompt?: string;
  messages?: ChatMessage[];
  raw?: boolean;
  model?: string;
  sessionId?: string;
  system?: string;
  options?: GenerationOptions;
  /** Edits: the new turn becomes a child of this message of the session. */
  parentId?: string;
  /** Makes a sibling of this answer of the session. */
  regenerate?: string;
}

export interface StreamInput extends GenerationInput {
  roomId?: string;
}

export interface Usage {
  promptTokens: number;
  completionTokens: number;
  totalTokens: number;
  cachedTokens: number;
}

export type FinishReason =
  | "stop"
  | "length"
  | "stop_string"
  | "tool_calls"
  | "timeout"
  | "stopped"
  | "error";

export interface TokenLogprob {
  token: string;
  logprob: number;
  top: { token: string; logprob: number }[];
}

export interface GenerationResult {
  text: string;
  tokens: number;
  model: string;
  latency: number;
  cached: boolean;
  finishReason: FinishReason;
  usage: Usage;
  logprobs?: TokenLogprob[];
  toolCalls?: ToolCall[];
  /** Which model was asked, where a fallback answered in its place. */
  requestedModel?: string;
}

export interface FieldError {
  field: string;
  message: string;
}

export interface ErrorFields {
  requestId?: string;
  code: string;
  error: string;
  retryable: boolean;
  details?: FieldError[];
  /** Milliseconds. */
  retryAfter?: number;
}

export interface Capabilities {
  streaming: boolean;
  batch: boolean;
  models: boolean;
  rooms: boolean;
  sessions: boolean;
  resume: boolean;
  binary: boolean;
}

export interface ServerLimits {
  maxMessageBytes: number;
  maxBatch: number;
  requestsPerMinute: number;
  tokensPerMinute: number;
  maxConcurrentStreams: number;
}

export interface Connected {
  type: "connected";
  clientId: string;
  resumeToken: string;
  protocolVersion: number;
  serverTime: string;
  authRequired: boolean;
  heartbeatInterval: number;
  capabilities: Partial<Capabilities>;
  limits: Partial<ServerLimits>;
}

export interface Authenticated {
  type: "authenticated";
  userId: string;
  clientId: string;
  scopes: string[];
  tier?: string;
  limits?: Partial<ServerLimits>;
}

export type StreamState = "queued" | "loading" | "running" | "ended" | "gone";

export interface ResumedStream {
  streamId: string;
  requestId?: string;
  state: StreamState;
  offset: number;
  sessionId?: string;
  messageId?: string;
}

export interface Resumed {
  type: "resumed";
  clientId: string;
  resumeToken: string;
  streams: ResumedStream[];
  rooms: RoomJoined[];
}

export interface BatchItem {
  type: "batch_item";
  batchId: string;
  index: number;
  result?: GenerationResult;
  error?: string;
  code?: string;
}

export interface BatchSummary {
  total: number;
  successful: number;
  failed: number;
  cancelled: number;
  averageLatency: number;
}

export type ModelStatus = "unloaded" | "loading" | "ready" | "failed";

export interface ModelEntry {
  id: string;
  name: string;
  type: string;
  /** Bytes of the weights. */
  size: number;
  capabilities: string[];
  status: ModelStatus;
  contextLength: number;
  engine: string;
  replicas: number;
  slots: number;
  activeStreams: number;
  default: boolean;
  description?: string;
  /** Why it failed. */
  reason?: string;
}

export interface LoadModelInput {
  source: string;
  format?: string;
  immediate?: boolean;
  id?: string;
  options?: Record<string, unknown>;
}

export interface ModelLoadProgress {
  type: "model_load_progress";
  id: string;
  stage: string;
  /** 0..1 */
  progress: number;
  /** Milliseconds. */
  elapsedTime?: number;
  /** Whether `progress` is a guess. */
  estimated?: boolean;
  bytesDone?: number;
  bytesTotal?: number;
  layersDone?: number;
  layersTotal?: number;
}

export interface LoadedModel {
  id: string;
  name: string;
  type: string;
  status: ModelStatus;
}

export interface Session {
  sessionId: string;
  title: string | null;
  createdAt: number;
  updatedAt: number;
  messageCount: number;
  systemPrompt?: string | null;
  model?: string | null;
  owner?: string;
  metadata?: Record<string, unknown>;
}

export interface HistoryMessage {
  messageId: string;
  parentId: string | null;
  role: Role;
  content: string;
  timestamp: number;
  authorId?: string;
  model?: string;
  tokens?: number;
  finishReason?: FinishReason | null;
  streamId?: string;
}

export interface History {
  sessionId: string;
  messages: HistoryMessage[];
  hasMore: boolean;
}

export interface Draining {
  type: "server_draining";
  reconnectAfter: number;
  spread: number;
  deadline: number;
}

/** Any frame of the server, before its type is known. */
export interface Frame {
  type: string;
  requestId?: string;
  streamId?: string;
  [field: string]: unknown;
}
