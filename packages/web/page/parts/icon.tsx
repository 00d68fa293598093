/** One of the icons that index.html defines. Screen readers skip it: each icon has a word or a label beside it. */
import type { JSX } from "preact";

export type IconName =
  | "serving"
  | "outdated"
  | "starting"
  | "handover"
  | "draining"
  | "failed"
  | "problem"
  | "asleep"
  | "vacant"
  | "copy"
  | "check"
  | "search"
  | "close"
  | "left"
  | "up"
  | "down"
  | "fold"
  | "auto"
  | "sun"
  | "keys"
  | "plug"
  | "wake"
  | "stop"
  | "gear"
  | "unknown";

export function Icon({ name, spin = false }: { readonly name: IconName; readonly spin?: boolean }): JSX.Element {
  return (
    <svg class={spin ? "icon spin" : "icon"} aria-hidden="true">
      <use href={`#${name}`} />
    </svg>
  );
}
