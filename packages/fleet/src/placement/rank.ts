/** Which of the hosts that fit is the best. */
import { type HostView, memoryLeft, type Need } from "./need.ts";

export type Criterion = "berths-of-set" | "image-absent" | "berths" | "fewer-berths" | "memory-left" | "memory-used";

/** One number by which hosts are compared. The lower one is better. */
export interface Score {
  readonly criterion: Criterion;
  readonly value: number;
}

/** What counts, the most important first. Hosts for one need have the same criteria. `absent`: images to fetch. */
export function rank(need: Need, view: HostView, absent: number): readonly Score[] {
  const all = Object.values(view.bookings.berths);
  const ofSet = all.filter(({ set }) => set === need.set).length;
  const left = memoryLeft(view);
  const image: Score = { criterion: "image-absent", value: absent };
  if (need.strategy === "spread") {
    return [
      { criterion: "berths-of-set", value: ofSet },
      image,
      { criterion: "berths", value: all.length },
      { criterion: "memory-used", value: -left },
    ];
  }
  return [image, { criterion: "fewer-berths", value: -all.length }, { criterion: "memory-left", value: left }];
}

/** The first criterion by which the two differ; undefined if they are equal. */
export function difference(
  one: readonly Score[],
  other: readonly Score[],
): { readonly criterion: Criterion; readonly one: number; readonly other: number } | undefined {
  for (const [at, { criterion, value }] of one.entries()) {
    const theirs = other[at]?.value ?? value;
    if (theirs !== value) return { criterion, one: value, other: theirs };
  }
  return undefined;
}
