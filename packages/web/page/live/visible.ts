/** Stops work while the tab is hidden: a hidden tab asks the server for nothing. */

/**
 * Calls `show` when the tab is or becomes visible, and the function that `show` returned when the tab is hidden.
 * Returns a function that ends both.
 */
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
