/** The map of quiet hours: shades and steps of the keyboard. Pure. */

export const DAY_NAMES: readonly string[] = [
  "Monday",
  "Tuesday",
  "Wednesday",
  "Thursday",
  "Friday",
  "Saturday",
  "Sunday",
];

const SHADES = 7;

/** The shade of a number of players, 0 to 6, where `top` is the highest of the map. */
export function shadeOf(players: number, top: number): number {
  if (top <= 0) return 0;
  return Math.min(SHADES - 1, Math.floor((players / top) * SHADES));
}

export interface Cell {
  readonly day: number;
  readonly hour: number;
}

/** The cell that an arrow key leads to; undefined at an edge, or for another key. `turned`: hours run downwards. */
export function step(from: Cell, key: string, turned: boolean): Cell | undefined {
  const along: Readonly<Record<string, readonly [number, number]>> = {
    ArrowLeft: [0, -1],
    ArrowRight: [0, 1],
    ArrowUp: [-1, 0],
    ArrowDown: [1, 0],
  };
  const move = along[key];
  if (move === undefined) return undefined;
  const [days, hours] = turned ? [move[1], move[0]] : move;
  const to = { day: from.day + days, hour: from.hour + hours };
  return to.day >= 0 && to.day < 7 && to.hour >= 0 && to.hour < 24 ? to : undefined;
}
