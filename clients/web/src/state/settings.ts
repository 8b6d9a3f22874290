/**
 * What the person set, and which of it the server did not like.
 *
 * Empty means "the server's default": nothing is sent then. The server's bounds are the ones that
 * count; the form only turns text into numbers.
 */

import { computed, signal } from "@preact/signals";
import type { FieldError, GenerationOptions } from "@wsserver/client";
import { permanent } from "@wsserver/shared/state/storage.js";

export type SettingName = "system" | "temperature" | "maxTokens" | "topP" | "seed";
export type Settings = Record<SettingName, string>;

const EMPTY: Settings = { system: "", temperature: "", maxTokens: "", topP: "", seed: "" };
const NUMBERS = ["temperature", "maxTokens", "topP", "seed"] as const;
const WHOLE: ReadonlySet<string> = new Set(["maxTokens", "seed"]);

export const settings = signal<Settings>({ ...EMPTY, ...permanent.get<Partial<Settings>>("settings") });
export const settingsOpen = signal(false);
/** What the server said about fields of the last request. */
export const refusedFields = signal<Partial<Record<SettingName, string>>>({});

export const fieldErrors = computed<Partial<Record<SettingName, string>>>(() => ({
  ...refusedFields.value,
  ...unreadableFields(settings.value),
}));

export const changedSettings = computed(
  () => Object.values(settings.value).filter((value) => value.trim() !== "").length,
);

export function setSetting(name: SettingName, value: string): void {
  settings.value = { ...settings.value, [name]: value };
  const { [name]: _, ...others } = refusedFields.value;
  refusedFields.value = others;
  permanent.set("settings", settings.value);
}

export function resetSettings(): void {
  settings.value = EMPTY;
  refusedFields.value = {};
  permanent.remove("settings");
}

export function generationOptions(values: Settings): GenerationOptions {
  const options: Partial<Record<(typeof NUMBERS)[number], number>> = {};
  for (const name of NUMBERS) {
    const text = values[name].trim();
    if (text !== "") options[name] = Number(text);
  }
  return options;
}

/** Sorts the server's field errors to their inputs; returns those that have none. */
export function showFieldErrors(details: readonly FieldError[]): FieldError[] {
  const refused: Partial<Record<SettingName, string>> = {};
  const others = details.filter(({ field, message }) => {
    const name = camelCase(field.split(".").at(-1) ?? "");
    if (!(name in EMPTY)) return true;
    refused[name as SettingName] = message;
    return false;
  });
  refusedFields.value = refused;
  if (Object.keys(refused).length > 0) settingsOpen.value = true;
  return others;
}

function unreadableFields(values: Settings): Partial<Record<SettingName, string>> {
  const errors: Partial<Record<SettingName, string>> = {};
  for (const name of NUMBERS) {
    const text = values[name].trim();
    if (text === "") continue;
    if (!Number.isFinite(Number(text))) errors[name] = "This is not a number.";
    else if (WHOLE.has(name) && !Number.isInteger(Number(text))) {
      errors[name] = "This must be a whole number.";
    }
  }
  return errors;
}

function camelCase(name: string): string {
  return name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
}
