/** A component that is loaded when it is first shown. */
import { type ComponentType, h, type JSX } from "preact";
import { useEffect, useState } from "preact/hooks";

export interface Loader<P> {
  readonly load: () => Promise<ComponentType<P>>;
  loaded?: ComponentType<P>;
}

/** Shows nothing until it is loaded; once loaded, it is there at once. */
export function Lazy<P extends object>({
  loader,
  props,
}: {
  readonly loader: Loader<P>;
  readonly props: P;
}): JSX.Element | null {
  const [, drawAgain] = useState(0);
  useEffect(() => {
    if (loader.loaded !== undefined) return;
    void loader.load().then((component) => {
      loader.loaded = component;
      drawAgain((n) => n + 1);
    });
  }, [loader]);
  return loader.loaded === undefined ? null : h(loader.loaded, props);
}
