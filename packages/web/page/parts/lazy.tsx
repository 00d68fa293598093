/** A component that is loaded when it is first shown. */
import { type ComponentType, h, type JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { whileVisible } from "../live/visible.ts";

export interface Loader<P> {
  readonly load: () => Promise<ComponentType<P>>;
  loaded?: ComponentType<P>;
}

/** The pause after a load that failed. */
const AGAIN_MS = 3000;

/**
 * Shows nothing until the component is loaded. A load that fails is tried again while the component is on the page and
 * the tab is visible: the server may be away for a moment. The text about a reload is for a server of another version,
 * which does not have the file.
 */
export function Lazy<P extends object>({
  loader,
  props,
}: {
  readonly loader: Loader<P>;
  readonly props: P;
}): JSX.Element | null {
  const [failures, countFailures] = useState(0);
  const [, drawAgain] = useState(0);
  useEffect(() => {
    if (loader.loaded !== undefined) return undefined;
    return whileVisible(() => {
      let isWanted = true;
      let timer: ReturnType<typeof setTimeout> | undefined;
      const failed = (): void => {
        if (isWanted) timer = setTimeout(() => countFailures(failures + 1), AGAIN_MS);
      };
      loader.load().then((component) => {
        loader.loaded = component;
        if (isWanted) drawAgain((n) => n + 1);
      }, failed);
      return () => {
        isWanted = false;
        clearTimeout(timer);
      };
    });
  }, [loader, failures]);
  if (loader.loaded !== undefined) return h(loader.loaded, props);
  return failures === 0 ? null : <p class="muted">This part cannot be loaded. Reload the page.</p>;
}
