/** Whether anybody sees the tab. A hidden one asks for nothing. */

/** Calls `show` while the tab is visible, and what it returned when it is hidden. Returns what ends both. */
export function whileVisible(show: () => () => void): () => void {
  let hide: (() => void) | undefined;
  const follow = (): void => {
    if (document.hidden) {
      hide?.();
      hide = undefined;
    } else {
      hide ??= show();
    }
  };
  document.addEventListener("visibilitychange", follow);
  follow();
  return () => {
    document.removeEventListener("visibilitychange", follow);
    hide?.();
    hide = undefined;
  };
}
