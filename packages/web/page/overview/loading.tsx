/** Grey blocks until the first answer comes. page-states.css shows them only after 300 ms. */
import type { JSX } from "preact";

const ROWS = [0, 1, 2, 3, 4, 5, 6, 7];

export function Loading(): JSX.Element {
  return (
    <main id="main" class="loading" aria-busy="true">
      <div class="head">
        <div>
          <h1>berthd</h1>
          <p>Asking the broker…</p>
        </div>
      </div>
      <div class="list" aria-hidden="true">
        {ROWS.map((row) => (
          <div key={row} class="row">
            <div class="state">
              <i class="bone round" />
              <Bone width={40 + ((row * 13) % 30)} />
            </div>
            <div class="name">
              <Bone width={35 + ((row * 17) % 40)} />
            </div>
            <div class="players">
              <Bone width={80} />
            </div>
            <div class="address">
              <Bone width={70} />
            </div>
            <div class="memory">
              <Bone width={100} />
            </div>
          </div>
        ))}
      </div>
    </main>
  );
}

/** `width` in percent. */
function Bone({ width }: { readonly width: number }): JSX.Element {
  return <i class="bone" style={{ "--bone": `${width}%` }} />;
}
