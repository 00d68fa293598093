/** The list's order stays still while the pointer or the focus is in it. */

import type { RefObject } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

/** Whether the pointer or the focus is in the element. */
export function useOccupied(element: RefObject<HTMLElement | null>): boolean {
  const [pointer, setPointer] = useState(false);
  const [focus, setFocus] = useState(false);
  useEffect(() => {
    const box = element.current;
    if (box === null) return undefined;
    const ended = new AbortController();
    const { signal } = ended;
    box.addEventListener("pointerenter", () => setPointer(true), { signal });
    box.addEventListener("pointerleave", () => setPointer(false), { signal });
    box.addEventListener("focusin", () => setFocus(true), { signal });
    box.addEventListener("focusout", (event) => setFocus(contains(box, event.relatedTarget)), { signal });
    return () => ended.abort();
  }, [element]);
  return pointer || focus;
}

function contains(box: HTMLElement, target: EventTarget | null): boolean {
  return target instanceof Node && box.contains(target);
}

/**
 * The value as it was when holding began; the present one when not held, or when the reader `asked` for something else.
 */
export function useHeld<T>(value: T, held: boolean, asked: string): T {
  const kept = useRef({ value, asked });
  if (!held || kept.current.asked !== asked) kept.current = { value, asked };
  return kept.current.value;
}
