/** What several shapes of the API are made of. */

/** Milliseconds since 1970. */
export type Time = number;

/** A command to copy: the page runs nothing. */
export interface Remedy {
  /** What it does: "Start it now, not at the next try". */
  readonly what: string;
  /** A command line, or lines for a configuration file. */
  readonly command: string;
}
