/** How long attacks last that need time, in seconds: a minute, or less where the gate has had its minute already. */
export function attackSeconds(): number {
  const text = process.env["BERTHD_ATTACK_SECONDS"] ?? "60";
  const seconds = Number(text);
  if (!(seconds >= 5)) throw new Error(`BERTHD_ATTACK_SECONDS is ${text}, which is not a number from 5 up`);
  return seconds;
}
