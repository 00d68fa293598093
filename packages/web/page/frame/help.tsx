/** Keys and the legend of states. */
import type { JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { STATE_ORDER, STATES } from "../model/states.ts";
import { Icon } from "../parts/icon.tsx";
import { StateIcon } from "../parts/state-mark.tsx";

const KEYS: readonly (readonly [string, string])[] = [
  ["/", "Filter"],
  ["j, k or ↓, ↑", "Next, previous berth"],
  ["Enter", "Open it"],
  ["c", "Copy its address"],
  ["Esc", "Close, then clear the filter"],
  ["?", "This"],
];

export function Help({ open, onClose }: { readonly open: boolean; readonly onClose: () => void }): JSX.Element {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    if (open && dialog.current?.open === false) dialog.current.showModal();
  }, [open]);
  return (
    <dialog ref={dialog} aria-labelledby="help-title" onClose={onClose}>
      <h2 id="help-title">Keys</h2>
      <dl>
        {KEYS.map(([key, what]) => (
          <>
            <dt>
              <kbd>{key}</kbd>
            </dt>
            <dd>{what}</dd>
          </>
        ))}
      </dl>
      <h2>States</h2>
      <dl>
        {STATE_ORDER.map((state) => (
          <>
            <dt class="state" data-state={state}>
              <StateIcon state={state} />
              <span class="state-word">{STATES[state].word}</span>
            </dt>
            <dd>{STATES[state].meaning}</dd>
          </>
        ))}
        <dt class="state newer">
          <Icon name="outdated" />
          <span>Outdated</span>
        </dt>
        <dd>It serves, but there is a newer version of its image, or of its configuration.</dd>
      </dl>
      <p class="end">
        <button type="button" class="select" onClick={() => dialog.current?.close()}>
          Close
        </button>
      </p>
    </dialog>
  );
}
