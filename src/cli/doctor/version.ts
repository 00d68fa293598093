/** Compares versions such as `6.18.5-amd64` and `20.12`. Pure. */

/** Whether `present` is below `needed`. Only the numbers count, as many as `needed` has. */
export function isOlder(present: string, needed: string): boolean {
  const [have, want] = [numbers(present), numbers(needed)];
  for (const [index, number] of want.entries()) {
    const own = have[index] ?? 0;
    if (own !== number) return own < number;
  }
  return false;
}

function numbers(text: string): number[] {
  return (/\d+(\.\d+)*/.exec(text)?.[0] ?? "").split(".").map(Number);
}
