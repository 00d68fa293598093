/**
 * What a server writes on its console, as it may reach the terminal of an operator. A hostile server could have a
 * terminal answer as if the operator had typed, fill the clipboard or change keys. So only text, colours, and moves of
 * the cursor pass. Pure.
 */
import { StringDecoder } from "node:string_decoder";

/** screen: for a terminal. plain: lines of text, for a file or a program. */
export type OutputFor = "screen" | "plain";

/** What the filter is in the middle of: a control sequence, a string such as a title, the name of a character set. */
type State = "text" | "escape" | "sequence" | "string" | "string-escape" | "charset";

/** For a screen, at the end: colours, the cursor and the wrapping of long lines, as they were. */
export const RESTORED = "\u001b[0m\u001b[?25h\u001b[?7h";

const SEQUENCE_MAX = 64;
const ESCAPE = "\u001b";
const BELL = "\u0007";

/** Control characters that a screen gets. */
const SCREEN_CONTROLS = "\n\r\t\b\u0007";
/** Save and restore the cursor; one line up. */
const SCREEN_ESCAPES = "78M";
/** Colours, moves, and what changes text on the screen: ECMA-48, after ESC [. Erasing what has scrolled away is not. */
const SCREEN_SEQUENCE = /^(?:[0-9;:]*m|[0-9;]*[A-HKLMPXdf@]|[0-2]?J|\d*[ST]|\?(?:7|25)[hl])$/;

export class OutputFilter {
  readonly #for: OutputFor;
  readonly #decoder: StringDecoder = new StringDecoder("utf8");
  #state: State = "text";
  #sequence = "";
  /** Without a screen: a carriage return has come, and it is not clear yet whether it ends the line. */
  #isReturned = false;
  #isLineBegun = false;

  constructor(output: OutputFor) {
    this.#for = output;
  }

  push(bytes: Buffer): string {
    let passed = "";
    for (const character of this.#decoder.write(bytes)) passed += this.#take(character);
    return passed;
  }

  #take(character: string): string {
    switch (this.#state) {
      case "text":
        return this.#text(character);
      case "escape":
        return this.#escape(character);
      case "sequence":
        return this.#inSequence(character);
      case "string":
        if (character === BELL || character === "\n") this.#state = "text";
        else if (character === ESCAPE) this.#state = "string-escape";
        return "";
      case "string-escape":
        this.#state = character === "\\" ? "text" : character === ESCAPE ? "string-escape" : "string";
        return "";
      case "charset":
        if (character >= "0") this.#state = "text";
        return "";
      default:
        return this.#state satisfies never;
    }
  }

  #text(character: string): string {
    if (character === ESCAPE) {
      this.#state = "escape";
      return "";
    }
    if (this.#for === "screen") return isControl(character) && !SCREEN_CONTROLS.includes(character) ? "" : character;
    if (character === "\r") {
      this.#isReturned = true;
      return "";
    }
    if (isControl(character) && character !== "\n" && character !== "\t") return "";
    // What was overwritten on a screen is a line of its own here.
    const before = this.#isReturned && this.#isLineBegun && character !== "\n" ? "\n" : "";
    this.#isReturned = false;
    this.#isLineBegun = character !== "\n";
    return before + character;
  }

  #escape(character: string): string {
    this.#state = "text";
    if (character === "[") {
      this.#state = "sequence";
      this.#sequence = "";
    } else if ("]PX^_".includes(character)) this.#state = "string";
    else if (character >= " " && character < "0") this.#state = "charset";
    else if (character === ESCAPE) this.#state = "escape";
    else if (this.#for === "screen" && SCREEN_ESCAPES.includes(character)) return ESCAPE + character;
    return "";
  }

  #inSequence(character: string): string {
    if (character === ESCAPE) {
      this.#state = "escape";
      return "";
    }
    if (character < " ") return "";
    if (this.#sequence.length < SEQUENCE_MAX) this.#sequence += character;
    if (character < "@") return "";
    this.#state = "text";
    return this.#for === "screen" && SCREEN_SEQUENCE.test(this.#sequence) ? `${ESCAPE}[${this.#sequence}` : "";
  }
}

/** C0, DEL and C1. */
function isControl(character: string): boolean {
  const code = character.codePointAt(0) ?? 0;
  return code < 0x20 || (code >= 0x7f && code < 0xa0);
}
