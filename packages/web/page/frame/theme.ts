/** The theme: the system's, light or dark. Kept in the browser; theme-start.ts sets it before anything is drawn. */
import { createStore, type Store } from "../live/store.ts";

export type Theme = "system" | "light" | "dark";

const KEY = "berthd-theme";

export const theme: Store<Theme> = createStore(known(document.documentElement.dataset["theme"]));

export function setTheme(next: Theme): void {
  if (next === "system") delete document.documentElement.dataset["theme"];
  else document.documentElement.dataset["theme"] = next;
  try {
    localStorage.setItem(KEY, next);
  } catch {
    // A browser that keeps nothing still shows it.
  }
  theme.set(next);
}

export function nextTheme(now: Theme): Theme {
  return now === "system" ? "light" : now === "light" ? "dark" : "system";
}

function known(text: string | undefined): Theme {
  return text === "light" || text === "dark" ? text : "system";
}
