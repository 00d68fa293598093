/** Asks berth-web, which keeps the history: over its address or its UNIX socket. What it answers is checked. */
import { readFileSync } from "node:fs";
import { type IncomingMessage, type RequestOptions, request } from "node:http";
import { BerthError } from "../../errors.ts";

/** Where it listens in examples/web.toml. */
export const DEFAULT_WEB = "http://127.0.0.1:9115";
/** The largest answer: 30 days of one berth are a tenth of it. */
const MAX_BYTES = 4 * 1024 * 1024;

export interface WebChoice {
  readonly web?: string;
  readonly tokenFile?: string;
  readonly timeout: number;
}

export interface JsonObject {
  readonly [key: string]: unknown;
}

/** Throws WEB_UNREACHABLE, and USAGE for an address that is none. Undefined: there is nothing by that path. */
export async function askWeb(path: string, choice: WebChoice): Promise<JsonObject | undefined> {
  const web = choice.web ?? process.env["BERTHD_WEB"] ?? DEFAULT_WEB;
  const response = await send({ ...placeOf(web), path, headers: headersOf(choice), agent: false }, web, choice.timeout);
  const text = await textOf(response, web);
  const answer = parsed(text);
  if (response.statusCode === 200 && answer !== undefined) return answer;
  const error = answer?.["error"];
  const said =
    isObject(error) && typeof error["message"] === "string" ? error["message"] : `status ${response.statusCode}`;
  if (response.statusCode === 404) {
    if (isObject(error) && error["code"] === "no-history") throw new BerthError("WEB_UNREACHABLE", `${web}: ${said}`);
    return undefined;
  }
  const help = response.statusCode === 401 ? "; give it with --token-file FILE" : "";
  throw new BerthError("WEB_UNREACHABLE", `${web}: ${said}${help}`);
}

function placeOf(web: string): RequestOptions {
  if (web.startsWith("unix:/")) return { socketPath: web.slice("unix:".length), host: "localhost" };
  try {
    const { protocol, hostname, port } = new URL(web);
    if (protocol === "http:") return { host: hostname.replace(/^\[|\]$/g, ""), port: port === "" ? 80 : Number(port) };
  } catch {
    // not an address: thrown below
  }
  throw new BerthError(
    "USAGE",
    `--web ${web} is not an address; write --web http://HOST:PORT, as --web ${DEFAULT_WEB}, or --web unix:/PATH`,
  );
}

function headersOf({ tokenFile }: WebChoice): Record<string, string> {
  if (tokenFile === undefined) return {};
  try {
    return { authorization: `Bearer ${readFileSync(tokenFile, "utf8").split("\n")[0]?.trim()}` };
  } catch (error) {
    throw new BerthError("USAGE", `--token-file: ${error instanceof Error ? error.message : error}`);
  }
}

function send(options: RequestOptions, web: string, seconds: number): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const sent = request({ ...options, signal: AbortSignal.timeout(seconds * 1000) }, resolve);
    sent.once("error", (error) => reject(unreachable(web, error)));
    sent.end();
  });
}

async function textOf(response: IncomingMessage, web: string): Promise<string> {
  const chunks: Buffer[] = [];
  let length = 0;
  try {
    for await (const chunk of response) {
      const bytes = Buffer.from(chunk);
      length += bytes.length;
      if (length > MAX_BYTES) throw new Error(`its answer is longer than ${MAX_BYTES} bytes`);
      chunks.push(bytes);
    }
  } catch (error) {
    throw unreachable(web, error);
  }
  return Buffer.concat(chunks).toString("utf8");
}

function unreachable(web: string, cause: unknown): BerthError {
  const why = cause instanceof Error ? cause.message : String(cause);
  const message = `berth-web, which keeps the history, does not answer at ${web}: ${why}; start it: berth start web; or say where it is: --web ADDRESS`;
  return new BerthError("WEB_UNREACHABLE", message, { cause });
}

function parsed(text: string): JsonObject | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
