/** A request for a root, and the answers when there is no root, or not yet. Types only. */
import type { Strategy } from "./root.ts";

/** A request for a root. It contains the `[root]` section of the berth's configuration. */
export interface RootRequest {
  readonly images: readonly string[];
  readonly state: "persistent" | "volatile";
  readonly size?: number;
  readonly inodes?: number;
  readonly shift: "auto" | Strategy;
  readonly nosuid: boolean;
  readonly nodev: boolean;
  readonly readOnly: boolean;
  readonly range?: number;
  /** Whether a root is built ahead, for the next lease. */
  readonly ready: boolean;
}

/** The root is not ready yet. Ask again when `until` resolves. If it resolves to a text, that text is the problem. */
export interface NotYet {
  readonly until: Promise<string | undefined>;
}

/** The root cannot be built. `problem` says why and what to do. */
export interface Unbuilt {
  readonly problem: string;
}
