/** What goes with every question: the settings, and as much of the conversation as fits. */

import { type ChatMessage, isUnknownType, type StreamInput } from "@wsserver/client";
import type { Answer } from "@wsserver/shared/state/answer.js";
import { client } from "@wsserver/shared/state/connection.js";
import { currentModel } from "@wsserver/shared/state/models.js";
import { fitContext } from "./fit.js";
import { generationOptions, settings } from "./settings.js";

/** Leaves out the oldest turns where the page sends the whole conversation. */
export async function fitted(input: StreamInput, answer: Answer): Promise<StreamInput> {
  const model = currentModel.value;
  if (!input.messages || !model?.contextLength) return input;
  const { maxTokens } = generationOptions(settings.value);
  const count = async (messages: ChatMessage[]) => client.countTokens({ messages, model: model.id });
  try {
    const fit = await fitContext(input.messages, model.contextLength, maxTokens, count);
    answer.dropped.value = fit.dropped;
    return { ...input, messages: fit.messages };
  } catch (error) {
    if (isUnknownType(error)) return input;
    throw error;
  }
}

export function generationInput(): Partial<StreamInput> {
  const input: Partial<StreamInput> = { options: generationOptions(settings.value) };
  const system = settings.value.system.trim();
  if (system) input.system = system;
  if (currentModel.value) input.model = currentModel.value.id;
  return input;
}
