/** The words for states, and the groups of the list. The order is that of the list: what needs somebody comes first. */
import type { StateWord } from "../../src/api/shapes.ts";

export interface StateText {
  readonly word: string;
  readonly group: Exclude<GroupKey, "unreachable">;
  /** For the legend. */
  readonly meaning: string;
}

export type GroupKey = "trouble" | "unreachable" | "changing" | "serving" | "asleep" | "vacant";

export const STATES: Readonly<Record<StateWord, StateText>> = {
  failed: { word: "Failed", group: "trouble", meaning: "It ended too soon or cannot start; it is tried again." },
  problem: { word: "Problem", group: "trouble", meaning: "It serves, but players suffer: lost packets, full memory." },
  draining: {
    word: "Draining",
    group: "changing",
    meaning: "It ends when its countdown does, or the last player leaves.",
  },
  handover: { word: "Handover", group: "changing", meaning: "A newcomer takes over; both serve, nobody is dropped." },
  starting: { word: "Starting", group: "changing", meaning: "Its server comes up; players who join wait." },
  serving: { word: "Serving", group: "serving", meaning: "A server has the berth and answers." },
  asleep: { word: "Asleep", group: "asleep", meaning: "No server runs; the first packet starts one." },
  vacant: { word: "Vacant", group: "vacant", meaning: "No server runs, and none is to." },
};

export const STATE_ORDER: readonly StateWord[] = [
  "failed",
  "problem",
  "draining",
  "handover",
  "starting",
  "serving",
  "asleep",
  "vacant",
];

export const GROUPS: readonly { readonly key: GroupKey; readonly title: string; readonly folds: boolean }[] = [
  { key: "trouble", title: "Needs attention", folds: false },
  { key: "unreachable", title: "Not reachable", folds: true },
  { key: "changing", title: "Changing now", folds: false },
  { key: "serving", title: "Serving", folds: false },
  { key: "asleep", title: "Asleep", folds: true },
  { key: "vacant", title: "Vacant", folds: true },
];
