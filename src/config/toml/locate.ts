/**
 * Finds the line of each key and array element of a TOML document, because the parser does not tell.
 * It scans only documents that the parser has accepted, so it reports no errors.
 */
import { parse } from "smol-toml";

/** The line of a key, an array element (by its index) or a table, and the places inside it. */
export interface Place {
  /** Counts from 1. */
  readonly line: number;
  readonly children: Map<string, Place>;
}

/** The places of a document that the parser accepts. */
export function locate(toml: string): Place {
  return new Scanner(toml).document();
}

// A byte order mark counts as a blank.
const blank = /(?:\s|#[^\n]*)*/y;
const spaces = /[ \t]*/y;
const simpleKey = /"(?:[^"\\\n]|\\.)*"|'[^'\n]*'|[^\s.=\]"'#]+/y;
const quoted = /"""(?:[^\\]|\\[\s\S])*?"{3,5}|'''[\s\S]*?'{3,5}|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'/y;
const bare = /[^,\]}\n#]+/y;

class Scanner {
  readonly #text: string;
  #at = 0;
  #line = 1;

  constructor(text: string) {
    this.#text = text;
  }

  document(): Place {
    const root: Place = { line: 1, children: new Map() };
    // How many elements an array of tables has so far: a later header means the last one.
    const elements = new Map<Place, number>();
    let table = root;
    // Stops as soon as it makes no progress: a wrong line number is better than a broker that hangs.
    let last = -1;
    for (this.#take(blank); this.#at < this.#text.length && this.#at > last; this.#take(blank)) {
      last = this.#at;
      if (!this.#skip("[")) {
        this.#keyValue(table);
        continue;
      }
      const isArray = this.#skip("[");
      const path = this.#key();
      this.#skip("]");
      this.#skip("]");
      table = root;
      path.forEach((name, index) => {
        table = this.#child(table, name);
        const count = elements.get(table) ?? 0;
        const isNew = isArray && index === path.length - 1;
        if (isNew) elements.set(table, count + 1);
        if (isNew || count > 0) table = this.#child(table, String(isNew ? count : count - 1));
      });
    }
    return root;
  }

  #keyValue(table: Place): void {
    let place = table;
    for (const name of this.#key()) place = this.#child(place, name);
    this.#skip("=");
    this.#take(spaces);
    this.#value(place);
  }

  #key(): string[] {
    const names: string[] = [];
    do {
      this.#take(spaces);
      const name = this.#take(simpleKey);
      // The parser decodes the escapes of a quoted key.
      names.push(/["']/.test(name) ? (Object.keys(parse(`${name} = 0`))[0] ?? name) : name);
      this.#take(spaces);
    } while (this.#skip("."));
    return names;
  }

  #value(place: Place): void {
    if (this.#skip("[")) {
      this.#items("]", (index) => this.#value(this.#child(place, String(index))));
    } else if (this.#skip("{")) {
      this.#items("}", () => this.#keyValue(place));
    } else if (this.#take(quoted) === "") {
      this.#take(bare);
    }
  }

  #items(end: string, item: (index: number) => void): void {
    let last = -1;
    for (let index = 0; this.#at > last; index++) {
      last = this.#at;
      this.#take(blank);
      if (this.#skip(end)) return;
      item(index);
      this.#take(blank);
      this.#skip(",");
    }
  }

  #child(place: Place, name: string): Place {
    const known = place.children.get(name);
    if (known !== undefined) return known;
    const child: Place = { line: this.#line, children: new Map() };
    place.children.set(name, child);
    return child;
  }

  #skip(character: string): boolean {
    if (this.#text[this.#at] !== character) return false;
    this.#at += 1;
    return true;
  }

  #take(pattern: RegExp): string {
    pattern.lastIndex = this.#at;
    const taken = pattern.exec(this.#text)?.[0] ?? "";
    this.#at += taken.length;
    for (let at = taken.indexOf("\n"); at >= 0; at = taken.indexOf("\n", at + 1)) this.#line += 1;
    return taken;
  }
}
