/** The keyboard: one handler for the page. */
import { choice, choose } from "../list/wanted.ts";

export interface KeyActions {
  readonly help: () => void;
  /** Closes the open berth. Says whether there was one. */
  readonly close: () => boolean;
}

/** Returns a function that ends it. */
export function listenToKeys(actions: KeyActions): () => void {
  const onKey = (event: KeyboardEvent): void => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    if (document.querySelector("dialog[open]") !== null) return;
    if (act(event.key, actions)) event.preventDefault();
  };
  document.addEventListener("keydown", onKey);
  return () => document.removeEventListener("keydown", onKey);
}

/** Says whether the key meant something. */
function act(key: string, actions: KeyActions): boolean {
  const focused = document.activeElement;
  const filter = filterField();
  if (key === "Escape") return onEscape(actions, focused, filter);
  if (focused !== null && focused === filter) return key === "ArrowDown" && focusRow(rowLinks()[0]);
  if (focused?.matches("input, select, textarea") === true) return false;
  const onRow = focused?.matches(".row .name a") === true;
  switch (key) {
    case "/":
      filter?.focus();
      filter?.select();
      return filter !== null;
    case "?":
      actions.help();
      return true;
    case "j":
      return step(1);
    case "k":
      return step(-1);
    case "ArrowDown":
      return onRow && step(1);
    case "ArrowUp":
      return onRow && step(-1);
    case "c":
      return copyAddress();
    default:
      return false;
  }
}

function onEscape(actions: KeyActions, focused: Element | null, filter: HTMLInputElement | null): boolean {
  if (focused !== filter && actions.close()) return true;
  const { filter: text, only } = choice.get();
  if (focused === filter) filter?.blur();
  choose({ filter: "", only: null });
  return text !== "" || only !== null || focused === filter;
}

/** Goes to the next row; while a berth is open, that one is opened in its place. */
export function step(by: number): boolean {
  const links = rowLinks();
  const focused = links.findIndex((link) => link.matches(":focus"));
  const at = focused >= 0 ? focused : links.findIndex((link) => link.closest(".row.open") !== null);
  const next = links[Math.max(0, Math.min(links.length - 1, at + by))];
  if (next === undefined) return false;
  if (document.querySelector(".row.open") === null) return focusRow(next);
  next.scrollIntoView({ block: "nearest" });
  location.replace(next.href);
  return true;
}

function copyAddress(): boolean {
  const button = document.querySelector<HTMLElement>(".row:focus-within .copy, .row.open .copy");
  button?.click();
  return button !== null;
}

function focusRow(link: HTMLAnchorElement | undefined): boolean {
  link?.focus();
  link?.scrollIntoView({ block: "nearest" });
  return link !== undefined;
}

function rowLinks(): HTMLAnchorElement[] {
  return [...document.querySelectorAll<HTMLAnchorElement>(".row .name a")];
}

function filterField(): HTMLInputElement | null {
  return document.querySelector<HTMLInputElement>("#filter");
}
