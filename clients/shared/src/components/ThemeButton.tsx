/** Switches between light and dark. */

import { theme, toggleTheme } from "../state/theme.js";
import { Moon, Sun } from "./icons.js";

export function ThemeButton() {
  const label = `Switch to ${theme.value === "dark" ? "light" : "dark"} colours`;
  return (
    <button type="button" class="quiet" aria-label={label} title={label} onClick={toggleTheme} data-testid="theme">
      {theme.value === "dark" ? <Sun /> : <Moon />}
    </button>
  );
}
