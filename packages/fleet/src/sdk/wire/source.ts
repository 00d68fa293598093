/** Reads one request, from bytes of Protocol Buffers or from JSON of grpc-gateway. Pure. */
import { MalformedMessage, Message } from "../../etcd/protobuf.ts";
import { Refusal } from "../refusal.ts";

/** Absent fields have their defaults. All methods throw {@link Refusal} for a field of another kind. */
export interface Source {
  text(number: number, name: string): string;
  long(number: number, name: string): number;
  texts(number: number, name: string): readonly string[];
  /** A number that can be absent: google.protobuf.Int64Value. */
  optional(number: number, name: string): number | undefined;
  /** The field that is the whole body in JSON. */
  body(number: number): Source;
  /** The paths of a google.protobuf.FieldMask: in JSON, the fields that the body has. */
  mask(number: number): readonly string[];
}

export function fromBytes(bytes: Buffer): Source {
  return readable(() => new BytesSource(new Message(bytes)));
}

/** `parameters`: what the path of the request says. It comes before the body. */
export function fromJson(text: string, parameters: Readonly<Record<string, string>>): Source {
  let body: unknown = {};
  try {
    if (text.trim() !== "") body = JSON.parse(text);
  } catch {
    throw new Refusal("INVALID_ARGUMENT", "the body is no JSON");
  }
  if (typeof body !== "object" || body === null || Array.isArray(body))
    throw new Refusal("INVALID_ARGUMENT", "the body is no JSON object");
  return new JsonSource(new Map<string, unknown>(Object.entries(body)), parameters);
}

class BytesSource implements Source {
  readonly #message: Message;

  constructor(message: Message) {
    this.#message = message;
  }

  text(number: number): string {
    return readable(() => this.#message.text(number));
  }

  long(number: number): number {
    return readable(() => this.#message.number(number));
  }

  texts(number: number): readonly string[] {
    return readable(() => this.#message.texts(number));
  }

  optional(number: number): number | undefined {
    return readable(() => this.#message.messages(number).at(-1)?.number(1));
  }

  body(number: number): Source {
    return readable(() => new BytesSource(this.#message.messages(number).at(-1) ?? new Message(Buffer.alloc(0))));
  }

  mask(number: number): readonly string[] {
    return readable(() => this.#message.messages(number).at(-1)?.texts(1) ?? []);
  }
}

function readable<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof MalformedMessage)) throw error;
    throw new Refusal("INVALID_ARGUMENT", `the message ${error.message}`);
  }
}

class JsonSource implements Source {
  readonly #fields: ReadonlyMap<string, unknown>;
  readonly #parameters: ReadonlyMap<string, string>;

  constructor(fields: ReadonlyMap<string, unknown>, parameters: Readonly<Record<string, string>>) {
    this.#fields = fields;
    this.#parameters = new Map(Object.entries(parameters));
  }

  text(_: number, name: string): string {
    const value = this.#parameters.get(name) ?? this.#fields.get(name) ?? "";
    return typeof value === "string" ? value : unfit(name, "a string");
  }

  long(number: number, name: string): number {
    return this.optional(number, name) ?? 0;
  }

  texts(_: number, name: string): readonly string[] {
    const value = this.#fields.get(name) ?? [];
    const texts = Array.isArray(value) ? value.filter((one) => typeof one === "string") : [];
    return Array.isArray(value) && texts.length === value.length ? texts : unfit(name, "an array of strings");
  }

  /** int64: a string or a number. */
  optional(_: number, name: string): number | undefined {
    const value = this.#fields.get(name) ?? undefined;
    if (value === undefined) return undefined;
    const number = typeof value === "string" && /^-?\d{1,16}$/.test(value) ? Number(value) : value;
    return typeof number === "number" && Number.isSafeInteger(number) ? number : unfit(name, "a whole number");
  }

  body(): Source {
    return this;
  }

  mask(): readonly string[] {
    return [...this.#fields.keys()].filter((name) => name !== "name");
  }
}

function unfit(name: string, expected: string): never {
  throw new Refusal("INVALID_ARGUMENT", `${name} is not ${expected}`);
}
