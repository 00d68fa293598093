/** Text that came from a server, a player or a configuration: without control characters, and no longer than shown. */

/** Also invisible characters, such as those that turn the direction of what follows; and halves of characters. */
const UNSHOWABLE = /[\s\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]+/gu;

/** `longest` in UTF-16 units, as the broker counts; it is cut between characters, never inside of one. */
export function clean(text: string, longest: number): string {
  const plain = text.replace(UNSHOWABLE, " ").trim();
  if (plain.length <= longest) return plain;
  let cut = "";
  for (const character of plain) {
    if (cut.length + character.length >= longest) break;
    cut += character;
  }
  return `${cut.trimEnd()}…`;
}

/** 2.5 s, 12 s, 4 min, 3 h 05 min, 4 d 2 h. */
export function duration(ms: number): string {
  const seconds = Math.max(0, ms) / 1000;
  if (seconds < 10) return `${Math.round(seconds * 10) / 10} s`;
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 24
    ? `${hours} h ${String(minutes % 60).padStart(2, "0")} min`
    : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

const UNITS = ["B", "KB", "MB", "GB", "TB"] as const;

/** 4 GB, 1.5 GB, 300 MB. Steps of 1024, so that what a unit of systemd writes as 4G is "4 GB". */
export function size(bytes: number): string {
  let value = Math.max(0, bytes);
  let step = 0;
  // What would be written as 1024 of a unit is 1 of the next.
  while (step < UNITS.length - 1 && Math.round(value) >= 1024) {
    value /= 1024;
    step++;
  }
  const digits = step > 2 && value < 9.95 ? value.toFixed(1).replace(/\.0$/, "") : String(Math.round(value));
  return `${digits} ${UNITS[step]}`;
}
