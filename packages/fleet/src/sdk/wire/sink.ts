/** Writes one message, as bytes of Protocol Buffers or as JSON of grpc-gateway: fields have numbers and names. Pure. */
import { MessageWriter } from "../../etcd/protobuf.ts";

export interface Sink {
  text(number: number, name: string, value: string): void;
  flag(number: number, name: string, value: boolean): void;
  /** int32: a number in JSON. */
  integer(number: number, name: string, value: number): void;
  /** int64: a string in JSON. */
  long(number: number, name: string, value: number): void;
  list(number: number, name: string, values: readonly string[]): void;
  message(number: number, name: string, write: (sink: Sink) => void): void;
  messages<T>(number: number, name: string, values: readonly T[], write: (sink: Sink, value: T) => void): void;
  /** A map of strings. */
  texts(number: number, name: string, values: ReadonlyMap<string, string>): void;
  /** A map of messages. */
  entries<T>(number: number, name: string, values: ReadonlyMap<string, T>, write: (sink: Sink, value: T) => void): void;
}

export function toBytes(write: (sink: Sink) => void): Buffer {
  const sink = new BytesSink();
  write(sink);
  return sink.writer.finish();
}

export function toJson(write: (sink: Sink) => void): Readonly<Record<string, unknown>> {
  const sink = new JsonSink();
  write(sink);
  return Object.fromEntries(sink.fields);
}

class BytesSink implements Sink {
  readonly writer = new MessageWriter();

  text(number: number, _: string, value: string): void {
    this.writer.text(number, value);
  }

  flag(number: number, _: string, value: boolean): void {
    this.writer.flag(number, value);
  }

  integer(number: number, _: string, value: number): void {
    this.writer.number(number, value);
  }

  long(number: number, name: string, value: number): void {
    this.integer(number, name, value);
  }

  list(number: number, _: string, values: readonly string[]): void {
    for (const value of values) this.writer.message(number, Buffer.from(value));
  }

  message(number: number, _: string, write: (sink: Sink) => void): void {
    this.writer.message(number, toBytes(write));
  }

  messages<T>(number: number, _: string, values: readonly T[], write: (sink: Sink, value: T) => void): void {
    for (const value of values)
      this.writer.message(
        number,
        toBytes((sink) => write(sink, value)),
      );
  }

  texts(number: number, _: string, values: ReadonlyMap<string, string>): void {
    for (const [key, value] of values)
      this.writer.message(number, new MessageWriter().text(1, key).text(2, value).finish());
  }

  entries<T>(number: number, _: string, values: ReadonlyMap<string, T>, write: (sink: Sink, value: T) => void): void {
    for (const [key, value] of values) {
      const bytes = toBytes((sink) => write(sink, value));
      this.writer.message(number, new MessageWriter().text(1, key).message(2, bytes).finish());
    }
  }
}

class JsonSink implements Sink {
  readonly fields = new Map<string, unknown>();

  text(_: number, name: string, value: string): void {
    this.fields.set(name, value);
  }

  flag(_: number, name: string, value: boolean): void {
    this.fields.set(name, value);
  }

  integer(_: number, name: string, value: number): void {
    this.fields.set(name, value);
  }

  long(_: number, name: string, value: number): void {
    this.fields.set(name, String(value));
  }

  list(_: number, name: string, values: readonly string[]): void {
    this.fields.set(name, values);
  }

  message(_: number, name: string, write: (sink: Sink) => void): void {
    this.fields.set(name, toJson(write));
  }

  messages<T>(_: number, name: string, values: readonly T[], write: (sink: Sink, value: T) => void): void {
    this.fields.set(
      name,
      values.map((value) => toJson((sink) => write(sink, value))),
    );
  }

  texts(_: number, name: string, values: ReadonlyMap<string, string>): void {
    this.fields.set(name, Object.fromEntries(values));
  }

  entries<T>(_: number, name: string, values: ReadonlyMap<string, T>, write: (sink: Sink, value: T) => void): void {
    const all = Array.from(values, ([key, value]) => [key, toJson((sink) => write(sink, value))] as const);
    this.fields.set(name, Object.fromEntries(all));
  }
}
