/** Messages of Protocol Buffers as bytes: what etcd's interface uses of them. Pure. */

/** What is wrong with bytes that are no message. */
export class MalformedMessage extends Error {}

/** https://protobuf.dev/programming-guides/encoding/ */
const VARINT = 0;
const FIXED64 = 1;
const BYTES = 2;
const FIXED32 = 5;

/** Writes one message. As in proto3, a field with its default is left out. */
export class MessageWriter {
  readonly #parts: Uint8Array[] = [];

  number(field: number, value: number | bigint): this {
    if (BigInt(value) === 0n) return this;
    this.#parts.push(varint((field << 3) | VARINT), varint(value));
    return this;
  }

  flag(field: number, value: boolean): this {
    return this.number(field, value ? 1 : 0);
  }

  text(field: number, value: string): this {
    return value === "" ? this : this.message(field, Buffer.from(value));
  }

  /** Also an empty one: that it is there can have a meaning. */
  message(field: number, value: Uint8Array): this {
    this.#parts.push(varint((field << 3) | BYTES), varint(value.length), value);
    return this;
  }

  finish(): Buffer {
    return Buffer.concat(this.#parts);
  }
}

function varint(value: number | bigint): Buffer {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, BigInt(value));
  for (; rest > 0x7fn; rest >>= 7n) bytes.push(Number(rest & 0x7fn) | 0x80);
  bytes.push(Number(rest));
  return Buffer.from(bytes);
}

/** One message that was read. An absent field has its default; fields that nobody asks for are skipped. */
export class Message {
  readonly #fields = new Map<number, (bigint | Buffer)[]>();

  /** Throws {@link MalformedMessage}. */
  constructor(bytes: Buffer) {
    let at = 0;
    const take = (length: number): Buffer => {
      if (length < 0) throw new MalformedMessage("has a field of negative length");
      if (at + length > bytes.length) throw new MalformedMessage(`ends ${at + length - bytes.length} bytes too early`);
      at += length;
      return bytes.subarray(at - length, at);
    };
    const takeVarint = (): bigint => {
      let value = 0n;
      for (let shift = 0n; shift < 70n; shift += 7n) {
        const byte = BigInt(take(1)[0] ?? 0);
        value |= (byte & 0x7fn) << shift;
        if (byte < 0x80n) return BigInt.asIntN(64, value);
      }
      throw new MalformedMessage("has a number of more than ten bytes");
    };
    while (at < bytes.length) {
      const tag = Number(takeVarint());
      const kind = tag & 7;
      if (kind === VARINT) this.#add(tag >>> 3, takeVarint());
      else if (kind === BYTES) this.#add(tag >>> 3, take(Number(takeVarint())));
      else if (kind === FIXED64) take(8);
      else if (kind === FIXED32) take(4);
      else throw new MalformedMessage(`has a field of the unknown kind ${kind}`);
    }
  }

  #add(field: number, value: bigint | Buffer): void {
    const values = this.#fields.get(field);
    if (values === undefined) this.#fields.set(field, [value]);
    else values.push(value);
  }

  #last<T extends bigint | Buffer>(field: number, is: (value: bigint | Buffer) => value is T): T | undefined {
    const value = this.#fields.get(field)?.at(-1);
    if (value === undefined) return undefined;
    if (!is(value)) throw new MalformedMessage(`has another kind of field ${field}`);
    return value;
  }

  integer(field: number): bigint {
    return this.#last(field, isInteger) ?? 0n;
  }

  /** Throws if a number cannot hold it. */
  number(field: number): number {
    const value = Number(this.integer(field));
    if (!Number.isSafeInteger(value)) throw new MalformedMessage(`has ${value} in field ${field}`);
    return value;
  }

  flag(field: number): boolean {
    return this.integer(field) !== 0n;
  }

  text(field: number): string {
    return this.#last(field, isBytes)?.toString() ?? "";
  }

  /** Each text of a repeated field. */
  texts(field: number): string[] {
    return this.#bytes(field).map(String);
  }

  /** Each message of a repeated field, or the one of a field. */
  messages(field: number): Message[] {
    return this.#bytes(field).map((bytes) => new Message(bytes));
  }

  #bytes(field: number): Buffer[] {
    return (this.#fields.get(field) ?? []).map((value) => {
      if (!isBytes(value)) throw new MalformedMessage(`has another kind of field ${field}`);
      return value;
    });
  }
}

const isInteger = (value: bigint | Buffer): value is bigint => typeof value === "bigint";
const isBytes = (value: bigint | Buffer): value is Buffer => typeof value !== "bigint";
