/** Whether a media query holds. */
import { useEffect, useState } from "preact/hooks";

/** Below this the detail is a page of its own; the files of css/ have the same number. */
export const PHONE = "(max-width: 47.99em)";

export function useMedia(query: string): boolean {
  const [holds, setHolds] = useState(() => matchMedia(query).matches);
  useEffect(() => {
    const list = matchMedia(query);
    const follow = (): void => setHolds(list.matches);
    follow();
    list.addEventListener("change", follow);
    return () => list.removeEventListener("change", follow);
  }, [query]);
  return holds;
}
