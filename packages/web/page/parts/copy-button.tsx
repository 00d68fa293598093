/** Copies a text. Answers with a tick for a moment, and in words to screen readers. */
import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { Icon } from "./icon.tsx";
import { say } from "./say.ts";

const TICK_MS = 1600;

/** `what` is what the button copies: "address of arena@bob". */
export function CopyButton({ text, what }: { readonly text: string; readonly what: string }): JSX.Element {
  const [copied, setCopied] = useState(false);
  useEffect(() => {
    if (!copied) return undefined;
    const timer = setTimeout(() => setCopied(false), TICK_MS);
    return () => clearTimeout(timer);
  }, [copied]);
  const copy = async (): Promise<void> => {
    const isCopied = await putOnClipboard(text);
    setCopied(isCopied);
    say(isCopied ? `Copied ${text}` : `Your browser did not copy ${text}`);
  };
  return (
    <button
      type="button"
      class="copy"
      data-copied={copied ? "" : undefined}
      aria-label={`Copy ${what}`}
      title="Copy"
      onClick={() => void copy()}
    >
      <Icon name={copied ? "check" : "copy"} />
    </button>
  );
}

/** False: the browser refused. */
async function putOnClipboard(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Browsers have navigator.clipboard only on HTTPS and on localhost. execCommand works on plain HTTP too.
    const focused = document.activeElement;
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    const isCopied = document.execCommand("copy");
    area.remove();
    if (focused instanceof HTMLElement) focused.focus();
    return isCopied;
  }
}
