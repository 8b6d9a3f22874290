/** Which models there are, which one answers, and what a load is doing. */

import { computed, signal } from "@preact/signals";
import type { ModelEntry } from "@wsserver/client";
import { client } from "./connection.js";
import { permanent } from "./storage.js";

export interface Loading {
  stage: string;
  progress: number;
}

const POLL = 2_000;

export const models = signal<ModelEntry[]>([]);
/** The person's choice; null is the server's default. */
export const chosenModel = signal(permanent.get<string>("model"));
export const loads = signal<Record<string, Loading>>({});
export const loadErrors = signal<Record<string, string>>({});

export const currentModel = computed(() => {
  const list = models.value;
  return (
    list.find(({ id }) => id === chosenModel.value) ??
    list.find((model) => model.default) ??
    list.find(({ status }) => status === "ready") ??
    list[0] ??
    null
  );
});

let timer: ReturnType<typeof setTimeout> | undefined;

client.on("ready", () => void refreshModels());

/** Asks again while a model is on its way: only who asked for a load is told its progress. */
export async function refreshModels(): Promise<void> {
  clearTimeout(timer);
  try {
    models.value = await client.models();
  } catch {
    // Shown by the connection state; the next `ready` asks again.
    return;
  }
  const settled = models.value.some(({ status }) => status === "ready");
  if (!settled || models.value.some(({ status }) => status === "loading")) {
    timer = setTimeout(() => void refreshModels(), POLL);
  }
}

/** Takes a model for the next questions; one that is not in memory is loaded. */
export function chooseModel(model: ModelEntry): void {
  chosenModel.value = model.id;
  permanent.set("model", model.id);
  if (model.status === "unloaded" || model.status === "failed") void load(model.id);
}

async function load(id: string): Promise<void> {
  const { [id]: _, ...errors } = loadErrors.value;
  loadErrors.value = errors;
  loads.value = { ...loads.value, [id]: { stage: "starting", progress: 0 } };
  try {
    await client.loadModel(
      { source: id, id },
      {
        onProgress: ({ stage, progress }) => {
          loads.value = { ...loads.value, [id]: { stage, progress } };
        },
      },
    );
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    loadErrors.value = { ...loadErrors.value, [id]: message };
  } finally {
    const { [id]: __, ...others } = loads.value;
    loads.value = others;
    void refreshModels();
  }
}
