/**
 * Requests that one reply answers. How a message goes out, and what a lost connection means for
 * it, is the client's business.
 */

import { newId } from "./ids.js";
import type {
  BatchItem,
  BatchSummary,
  ChatMessage,
  Frame,
  GenerationInput,
  GenerationOptions,
  GenerationResult,
  LoadedModel,
  LoadModelInput,
  ModelEntry,
  ModelLoadProgress,
  RoomSummary,
} from "./messages.js";
import type { RequestSpec } from "./requests.js";

export type Message = RequestSpec["message"];

export abstract class Calls {
  protected readonly requestTimeout: number;
  protected readonly generateTimeout: number;

  constructor(timeouts: { requestTimeout?: number; generateTimeout?: number }) {
    this.requestTimeout = timeouts.requestTimeout ?? 30_000;
    this.generateTimeout = timeouts.generateTimeout ?? 600_000;
  }

  /** Sends a request now or when there is a connection; settles with its reply. */
  protected abstract ask(spec: RequestSpec, requestId?: string): Promise<Frame>;

  /** Sends a message that nothing answers; false: there is no connection. */
  protected abstract tell(message: Record<string, unknown>): boolean;

  /** A whole answer at once. Aborting `signal` stops it: it then resolves with the text so far. */
  async generate(
    input: GenerationInput,
    { timeout = this.generateTimeout, signal }: { timeout?: number; signal?: AbortSignal } = {},
  ): Promise<GenerationResult> {
    signal?.throwIfAborted();
    const requestId = newId();
    const stop = () => this.tell({ type: "stop_stream", requestId });
    signal?.addEventListener("abort", stop, { once: true });
    const message = { ...input, type: "generate" };
    const ends = { replies: ["generation_complete"], failures: ["generation_error"] };
    try {
      const frame = await this.ask({ message, ...ends, timeout, repeatable: true }, requestId);
      return frame["result"] as GenerationResult;
    } finally {
      signal?.removeEventListener("abort", stop);
    }
  }

  /** Answers to many prompts, in their order; `onItem` sees each as it ends. */
  async batch(
    input: { prompts: string[]; model?: string; options?: GenerationOptions },
    {
      onItem,
      timeout = this.generateTimeout,
    }: { onItem?: (item: BatchItem) => void; timeout?: number } = {},
  ): Promise<{ items: BatchItem[]; summary: BatchSummary }> {
    const items: BatchItem[] = [];
    const onEvent = (frame: Frame) => {
      const item = frame as unknown as BatchItem;
      // After a repeat the items come again from the first on.
      if (frame.type !== "batch_item" || items[item.index]) return;
      items[item.index] = item;
      onItem?.(item);
    };
    const message = { ...input, type: "batch" };
    const ends = { replies: ["batch_complete"], failures: ["batch_error"] };
    const frame = await this.ask({ message, ...ends, timeout, repeatable: true, onEvent });
    return { items, summary: frame["summary"] as BatchSummary };
  }

  async models(): Promise<ModelEntry[]> {
    return (await this.request({ type: "models" }, "models_list"))["models"] as ModelEntry[];
  }

  /** Loads a model; no timeout unless given, since a big one takes minutes. */
  async loadModel(
    input: LoadModelInput,
    {
      onProgress,
      timeout = 0,
    }: { onProgress?: (event: ModelLoadProgress) => void; timeout?: number } = {},
  ): Promise<LoadedModel> {
    const onEvent = (frame: Frame) => onProgress?.(frame as unknown as ModelLoadProgress);
    const message = { ...input, type: "load_model" };
    const ends = { replies: ["model_loaded"], failures: ["model_load_error"] };
    const frame = await this.ask({ message, ...ends, timeout, onEvent });
    return frame["model"] as LoadedModel;
  }

  async unloadModel(id: string, { force = false, timeout = 0 } = {}): Promise<void> {
    const message = { type: "unload_model", id, force };
    await this.ask({ message, replies: ["model_unloaded"], timeout });
  }

  async countTokens(input: {
    text?: string;
    messages?: ChatMessage[];
    model?: string;
  }): Promise<number> {
    const frame = await this.request({ ...input, type: "count_tokens" }, "token_count");
    return frame["tokens"] as number;
  }

  /** Stops everything that this client runs. */
  async interrupt(): Promise<{ streamIds: string[]; batchIds: string[] }> {
    return (await this.request({ type: "interrupt" }, "interrupted")) as never;
  }

  getStatus(): Promise<Frame> {
    return this.request({ type: "get_status" }, "status");
  }

  /** The rooms that this user may see. */
  async listRooms(): Promise<RoomSummary[]> {
    const rooms: RoomSummary[] = [];
    let cursor: string | undefined;
    do {
      const page = cursor === undefined ? {} : { cursor };
      const frame = await this.request({ type: "list_rooms", ...page }, "rooms_list");
      rooms.push(...(frame["rooms"] as RoomSummary[]));
      cursor = frame["nextCursor"] as string | undefined;
    } while (cursor);
    return rooms;
  }

  /** Any other message of the protocol: resolves with the reply, rejects with its error. */
  request(message: Message, reply: string): Promise<Frame> {
    return this.ask({ message, replies: [reply], timeout: this.requestTimeout });
  }
}
