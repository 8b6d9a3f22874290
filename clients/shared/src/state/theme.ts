/** Light or dark: the system's choice until the person makes one. */

import { signal } from "@preact/signals";
import { permanent } from "./storage.js";

type Theme = "light" | "dark";

const system = window.matchMedia("(prefers-color-scheme: dark)");
const chosen = signal(permanent.get<Theme>("theme"));
export const theme = signal<Theme>(current());

system.addEventListener("change", () => {
  theme.value = current();
});

export function toggleTheme(): void {
  chosen.value = theme.value === "dark" ? "light" : "dark";
  theme.value = chosen.value;
  permanent.set("theme", chosen.value);
  document.documentElement.style.colorScheme = chosen.value;
}

function current(): Theme {
  return chosen.value ?? (system.matches ? "dark" : "light");
}
