/**
 * One JSON object, decoded strictly: what JSON.parse accepts, minus the spellings on which two readers may disagree
 * (a key given twice) and those made to exhaust one (deep nesting). It never looks at what the fields mean.
 */

/** Objects and arrays inside each other, the outermost one counted. */
export const MAX_NESTING = 32;

export type JsonObject = Record<string, unknown>;

/** How many keys and array items an object may have in all, counted by its colons and commas. */
export interface JsonLimit {
  readonly values: number;
  /** Called for an object with more: gives the limit that holds for it. It may be costly to find. */
  readonly raise?: () => number;
}

/** Whether a decoded value is an object: not null, not an array. */
export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

const UNLIMITED: JsonLimit = { values: Number.POSITIVE_INFINITY };

// What countMembers returns for a text that is not decoded.
const TOO_DEEP = -1;
const TOO_MANY = -2;

const QUOTE = 0x22;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_BRACKET = 0x5b;
const BACKSLASH = 0x5c;
const CLOSE_BRACKET = 0x5d;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;

/**
 * Decodes the text of one message. Returns the object, or a sentence that says why it is none.
 *
 * A key given twice is found by counting: JSON.parse keeps one of the two, so the result then has fewer keys than the
 * text has colons outside strings. That holds however the key is spelt, and costs no set of keys (hazard 11,
 * json.test.ts).
 */
export function decodeObject(text: string, limit: JsonLimit = UNLIMITED): JsonObject | string {
  let written = countMembers(text, limit.values);
  if (written === TOO_MANY && limit.raise !== undefined) written = countMembers(text, limit.raise());
  if (written === TOO_MANY) return "the message has too many keys or array items";
  if (written === TOO_DEEP) return `the message nests objects or arrays deeper than ${MAX_NESTING}`;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return `the message is not valid JSON: ${error instanceof Error ? error.message : String(error)}`;
  }
  if (!isObject(value)) return "the message is valid JSON, but not an object";
  if (countKeys(value) !== written) return "the message has the same key twice in one object";
  return value;
}

/**
 * The colons outside strings. TOO_DEEP when the text nests too deep, TOO_MANY when there are more colons and commas
 * than `most`. Of text that is not JSON, any number.
 */
function countMembers(text: string, most: number): number {
  let members = 0;
  let commas = 0;
  let depth = 0;
  const { length } = text;
  for (let at = 0; at < length; at++) {
    switch (text.charCodeAt(at)) {
      case QUOTE:
        at = endOfString(text, at);
        break;
      case COLON:
        if (++members + commas > most) return TOO_MANY;
        break;
      case COMMA:
        if (members + ++commas > most) return TOO_MANY;
        break;
      case OPEN_BRACE:
      case OPEN_BRACKET:
        if (++depth > MAX_NESTING) return TOO_DEEP;
        break;
      case CLOSE_BRACE:
      case CLOSE_BRACKET:
        depth--;
        break;
    }
  }
  return members;
}

/** Where the quote is that ends the string begun at `start`, or the text's length if none does. */
function endOfString(text: string, start: number): number {
  // The first quote ends it unless a backslash is before that; indexOf is far faster than our own loop.
  const first = text.indexOf('"', start + 1);
  if (first < 0) return text.length;
  if (text.charCodeAt(first - 1) !== BACKSLASH) return first;
  let at = start + 1;
  for (; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) break;
    if (code === BACKSLASH) at++;
  }
  return at;
}

/** The keys of all objects in a decoded value. Recursion is safe: countMembers has bounded the depth. */
function countKeys(value: unknown): number {
  let keys = 0;
  if (isObject(value)) {
    for (const key in value) keys += 1 + countKeys(value[key]);
  } else if (Array.isArray(value)) {
    for (const item of value) keys += countKeys(item);
  }
  return keys;
}
