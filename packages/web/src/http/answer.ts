/** What a route answers with, and how that is written. */
import type { IncomingMessage, ServerResponse } from "node:http";
import { gzipSync } from "node:zlib";
import type { ApiError } from "../api/shapes.ts";
import { headersOf } from "./headers.ts";

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Body;
}

/** Bytes that many answers share. They are compressed once, when the first asks for that. */
export class Body {
  readonly bytes: Buffer;
  #zipped: Buffer | undefined;

  constructor(bytes: Buffer, zipped?: Buffer) {
    this.bytes = bytes;
    this.#zipped = zipped;
  }

  get zipped(): Buffer {
    this.#zipped ??= gzipSync(this.bytes, { level: 5 });
    return this.#zipped;
  }
}

export function jsonBody(value: unknown): Body {
  return new Body(Buffer.from(JSON.stringify(value)));
}

export function jsonAnswer(body: Body, status = 200): Answer {
  return { status, headers: headersOf("application/json"), body };
}

export function refusal(
  status: number,
  code: ApiError["error"]["code"],
  message: string,
  headers: Readonly<Record<string, string>> = {},
): Answer {
  const error: ApiError = { error: { code, message } };
  return { status, headers: { ...headersOf("application/json"), ...headers }, body: jsonBody(error) };
}

/** Smaller ones do not get shorter. */
const WORTH_ZIPPING = 1024;

export function send(request: IncomingMessage, response: ServerResponse, { status, headers, body }: Answer): void {
  const zips = body.bytes.length >= WORTH_ZIPPING && /\bgzip\b/.test(String(request.headers["accept-encoding"] ?? ""));
  const bytes = zips ? body.zipped : body.bytes;
  response.writeHead(status, {
    ...headers,
    Vary: "Accept-Encoding",
    "Content-Length": bytes.length,
    ...(zips && { "Content-Encoding": "gzip" }),
  });
  response.end(request.method === "HEAD" ? undefined : bytes);
}
