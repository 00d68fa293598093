/** Reads the line that is typed on a server's console when its berth is drained. */
import { type Reader, refuse, text } from "../toml/reader.ts";

/** The most bytes of a line that a terminal takes, with its end: MAX_CANON of Linux. */
const LINE_MAX = 4095;
/** The most bytes that stand for `{when}`: "once nobody plays". */
const WHEN_MAX = 17;

export const consoleLine: Reader<string> = (value, reading) => {
  const line = text(value, reading);
  if (line === undefined) return undefined;
  const longest = line.replaceAll("{when}", " ".repeat(WHEN_MAX));
  const isTypable = line !== "" && !/\p{Cc}/u.test(line) && Buffer.byteLength(longest) < LINE_MAX;
  return isTypable
    ? line
    : refuse(value, reading, "one line without control characters", 'write for example "say bye"');
};
