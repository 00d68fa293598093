/** What is asked of whoever builds roots, and what is answered when there is none (yet). Types alone. */
import type { Strategy } from "./root.ts";

/** What is asked for; the `[root]` of a berth's configuration. */
export interface RootRequest {
  readonly images: readonly string[];
  readonly state: "persistent" | "volatile";
  readonly size?: number;
  readonly shift: "auto" | Strategy;
  readonly nosuid: boolean;
  readonly nodev: boolean;
  readonly readOnly: boolean;
  readonly range?: number;
  /** Whether one is to stand ready for the next lease. */
  readonly ready: boolean;
}

/** Not now: ask again when this has resolved, unless it resolved with why that would be in vain. */
export interface NotYet {
  readonly until: Promise<string | undefined>;
}

/** Not at all: why, and what to do, in a sentence. */
export interface Unbuilt {
  readonly problem: string;
}
