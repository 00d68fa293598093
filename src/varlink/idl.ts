/**
 * Parses the Varlink interface description language into a syntax tree. The grammar is that of
 * https://varlink.org/Interface-Definition, with sd-varlink's additions (upper case in interface names, `any`). It
 * writes no descriptions and validates no values.
 */
import { BerthError } from "../errors.ts";

type Primitive = "bool" | "int" | "float" | "string" | "object" | "any";

/** A type as written. `named` refers to a type of the same interface; the parser has checked that it exists. */
export type Type =
  | { readonly kind: Primitive }
  | { readonly kind: "nullable" | "array" | "map"; readonly of: Type }
  | { readonly kind: "named"; readonly name: string }
  | Struct
  | Enum;

/** `(name: type, …)`. `()` is a struct without fields, never an enum without members. */
export interface Struct {
  readonly kind: "struct";
  readonly fields: readonly Field[];
}

/** `(one, two, …)`. */
export interface Enum {
  readonly kind: "enum";
  readonly members: readonly string[];
}

/** `docs` here and below: the comment lines directly above, without `# `; "" if there are none. */
export interface Field {
  readonly name: string;
  readonly type: Type;
  readonly docs: string;
}

export interface TypeMember {
  readonly type: Struct | Enum;
  readonly docs: string;
}

export interface MethodMember {
  readonly input: Struct;
  readonly output: Struct;
  readonly docs: string;
}

export interface ErrorMember {
  readonly parameters: Struct;
  readonly docs: string;
}

/** One interface. Members have their bare names, unique across all three maps, in the order written. */
export interface Interface {
  readonly name: string;
  readonly docs: string;
  readonly types: ReadonlyMap<string, TypeMember>;
  readonly methods: ReadonlyMap<string, MethodMember>;
  readonly errors: ReadonlyMap<string, ErrorMember>;
}

/** How deep types may nest: more than any real interface needs, and far from the end of our stack. */
const MAX_DEPTH = 32;

const INTERFACE_NAME = /^[A-Za-z](-*[A-Za-z0-9])*(\.[A-Za-z0-9](-*[A-Za-z0-9])*)+$/;
const MEMBER_NAME = /^[A-Z][A-Za-z0-9]*$/;
const FIELD_NAME = /^[A-Za-z](_?[A-Za-z0-9])*$/;

const primitives: ReadonlyMap<string, Type> = new Map(
  (["bool", "int", "float", "string", "object", "any"] as const).map((kind) => [kind, { kind }]),
);

/** A token, its place, and the comment above it. At the end of the text, `text` is empty. */
interface Token {
  readonly text: string;
  readonly offset: number;
  readonly docs: string;
}

class Scanner {
  /** The next token. */
  peek: Token;
  readonly #source: string;
  #offset = 0;

  constructor(source: string) {
    this.#source = source;
    this.peek = this.#scan();
  }

  take(): Token {
    const token = this.peek;
    this.peek = this.#scan();
    return token;
  }

  /** Takes the next token if it is `text`. */
  skip(text: string): boolean {
    if (this.peek.text !== text) return false;
    this.take();
    return true;
  }

  expect(text: string): Token {
    if (this.peek.text !== text) this.fail(`"${text}"`);
    return this.take();
  }

  /** Takes a token that matches `pattern`. `what` describes it in the error. */
  name(pattern: RegExp, what: string): Token {
    if (!pattern.test(this.peek.text)) this.fail(what);
    return this.take();
  }

  /** Throws: the next token should have been `expected`. */
  fail(expected: string): never {
    const { text } = this.peek;
    this.refuse(this.peek, `expected ${expected}, found ${text === "" ? "the end of the text" : `"${text}"`}`);
  }

  /** Throws `problem`, with the place of `token`. */
  refuse(token: Token, problem: string): never {
    const before = this.#source.slice(0, token.offset);
    const line = before.split("\n").length;
    const column = token.offset - before.lastIndexOf("\n");
    throw new BerthError("PROTOCOL_ERROR", `Varlink interface description, line ${line} column ${column}: ${problem}`);
  }

  #scan(): Token {
    const docs = this.#blank();
    const offset = this.#offset;
    // `[]` and `[string]` are single tokens: the grammar allows no blanks inside.
    const text = this.#match(/->|\[\]|\[string\]|[(),:?]|[A-Za-z0-9_.-]+|./suy);
    return { text, offset, docs };
  }

  /** Skips blanks and comments. Returns the last block of comment lines if it is directly above the next token. */
  #blank(): string {
    let docs: string[] = [];
    let ownLine = this.#offset === 0;
    for (;;) {
      const blanks = this.#match(/[ \t\r\n]*/y);
      const lines = blanks.split("\n").length - 1;
      if (lines > 0) ownLine = true;
      if (lines > 1) docs = [];
      const comment = this.#match(/#[^\n]*/y);
      if (comment === "") return docs.join("\n");
      // A comment at the end of a line describes that line, not the next token.
      if (ownLine) docs.push(comment.replace(/# ?/, "").trimEnd());
    }
  }

  #match(pattern: RegExp): string {
    pattern.lastIndex = this.#offset;
    const text = pattern.exec(this.#source)?.[0] ?? "";
    this.#offset += text.length;
    return text;
  }
}

/**
 * Parses the description of one interface.
 * @throws BerthError PROTOCOL_ERROR with line and column (both from 1) of the first thing that is not Varlink.
 */
export function parseInterface(text: string): Interface {
  const scanner = new Scanner(text);
  const { docs } = scanner.expect("interface");
  const name = scanner.name(INTERFACE_NAME, "an interface name like org.example.thing").text;

  const types = new Map<string, TypeMember>();
  const methods = new Map<string, MethodMember>();
  const errors = new Map<string, ErrorMember>();
  const references: Token[] = [];

  do {
    const keyword = scanner.peek;
    if (!["type", "method", "error"].includes(keyword.text)) scanner.fail('"type", "method" or "error"');
    scanner.take();
    const member = scanner.name(MEMBER_NAME, `a name for the ${keyword.text} that begins with an upper-case letter`);
    if (types.has(member.text) || methods.has(member.text) || errors.has(member.text)) {
      scanner.refuse(member, `"${member.text}" is already defined`);
    }
    if (keyword.text === "type") {
      types.set(member.text, { type: parseGroup(scanner, references, 0), docs: keyword.docs });
    } else if (keyword.text === "error") {
      errors.set(member.text, { parameters: parseStruct(scanner, references), docs: keyword.docs });
    } else {
      const input = parseStruct(scanner, references);
      scanner.expect("->");
      methods.set(member.text, { input, output: parseStruct(scanner, references), docs: keyword.docs });
    }
  } while (scanner.peek.text !== "");

  for (const reference of references) {
    if (!types.has(reference.text)) scanner.refuse(reference, `"${reference.text}" is not a type of this interface`);
  }
  return { name, docs, types, methods, errors };
}

/** The parameters of a method or error, which cannot be an enum. */
function parseStruct(scanner: Scanner, references: Token[]): Struct {
  const start = scanner.peek;
  const group = parseGroup(scanner, references, 0);
  if (group.kind === "enum") scanner.refuse(start, "parameters need a type each, as in (name: string)");
  return group;
}

/** The contents of parentheses. The first entry shows whether it is a struct or an enum. */
function parseGroup(scanner: Scanner, references: Token[], depth: number): Struct | Enum {
  scanner.expect("(");
  if (scanner.skip(")")) return { kind: "struct", fields: [] };
  const fields: Field[] = [];
  const names = new Set<string>();
  do {
    const field = scanner.name(FIELD_NAME, "a name of letters, digits and single underscores");
    if (names.has(field.text)) scanner.refuse(field, `"${field.text}" appears twice in these parentheses`);
    names.add(field.text);
    if (names.size > 1 && fields.length === 0) continue;
    if (fields.length > 0) scanner.expect(":");
    else if (!scanner.skip(":")) continue;
    fields.push({ name: field.text, type: parseType(scanner, references, depth + 1), docs: field.docs });
  } while (scanner.skip(","));
  if (!scanner.skip(")")) scanner.fail('"," or ")"');
  return fields.length > 0 ? { kind: "struct", fields } : { kind: "enum", members: [...names] };
}

function parseType(scanner: Scanner, references: Token[], depth: number): Type {
  const token = scanner.peek;
  if (depth > MAX_DEPTH) scanner.refuse(token, `types are nested deeper than ${MAX_DEPTH}`);
  if (token.text === "(") return parseGroup(scanner, references, depth);
  if (scanner.skip("[]")) return { kind: "array", of: parseType(scanner, references, depth + 1) };
  if (scanner.skip("[string]")) return { kind: "map", of: parseType(scanner, references, depth + 1) };
  if (scanner.skip("?")) {
    if (scanner.peek.text === "?") scanner.fail('a type that is not itself optional after "?"');
    return { kind: "nullable", of: parseType(scanner, references, depth + 1) };
  }
  const primitive = primitives.get(token.text);
  if (primitive === undefined && !MEMBER_NAME.test(token.text)) {
    scanner.fail("a type: bool, int, float, string, object, any, (…), []…, [string]…, ?… or the name of one");
  }
  scanner.take();
  if (primitive !== undefined) return primitive;
  references.push(token);
  return { kind: "named", name: token.text };
}
