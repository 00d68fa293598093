/**
 * `server.sdk` and what belongs to it: the SDK that a server calls, its ports on loopback, and the user whose program
 * serves it. The broker opens none of these ports. It tells them to the server, and lets that user speak for it. Pure.
 */
import { uid } from "../toml/account-readers.ts";
import { integer, type Reader, word } from "../toml/reader.ts";
import { type Context, type DefaultedKey, type Key, present, type Section } from "../toml/section.ts";
import { scalarOf } from "../toml/tree.ts";
import type { SdkProtocol, SdkSpec } from "./spec.ts";

/** Those that a server for Agones tries without the variables (agones.dev, Client SDKs). */
const GRPC_PORT = 9357;
const HTTP_PORT = 9358;

/** Ports below need a capability that the program which serves the SDK does not have. */
const number = integer(1024, 65_535);

/** A number; or a string of digits, so that a template can make it of its `%i`. */
const port: Reader<number> = (value, reading) => {
  const written = scalarOf(value);
  if (typeof written !== "string" || !/^\d{1,5}$/.test(written)) return number(value, reading);
  return number({ kind: "scalar", value: Number(written), origin: value.origin }, reading);
};

interface SdkKeys {
  readonly sdk: Key<SdkProtocol>;
  readonly sdkUser: Key<number>;
  readonly sdkGrpcPort: DefaultedKey<number>;
  readonly sdkHttpPort: DefaultedKey<number>;
}

export const sdkKeys: SdkKeys = {
  sdk: { name: "sdk", type: '"agones"', read: word<SdkProtocol>("agones"), default: "none" },
  sdkUser: { name: "sdk-user", type: "user name or id", read: uid, default: "none" },
  sdkGrpcPort: { name: "sdk-grpc-port", type: "port", read: port, fallback: GRPC_PORT, default: String(GRPC_PORT) },
  sdkHttpPort: { name: "sdk-http-port", type: "port", read: port, fallback: HTTP_PORT, default: String(HTTP_PORT) },
};

/** What a `[server]` table says of its SDK; undefined without `sdk`. */
export function readSdk({ table, optional, value }: Section, { report }: Context): SdkSpec | undefined {
  const protocol = optional(sdkKeys.sdk);
  const user = optional(sdkKeys.sdkUser);
  const [grpcPort, httpPort] = [value(sdkKeys.sdkGrpcPort), value(sdkKeys.sdkHttpPort)];
  const { sdk, ...others } = sdkKeys;
  const written = Object.values(others).flatMap(({ name }) => {
    const entry = table.entries.get(name);
    return entry === undefined ? [] : [{ name, origin: entry.origin }];
  });
  if (!table.entries.has(sdk.name)) {
    for (const { name, origin } of written)
      report(origin, `server.${name} has no effect without server.sdk`, `add sdk = "agones", or remove ${name}`);
  } else if (grpcPort === httpPort) {
    const { origin } = written.find(({ name }) => name.endsWith("-port")) ?? table;
    report(origin, `server.sdk-grpc-port and server.sdk-http-port are both ${grpcPort}`, "write two different ports");
  }
  return protocol === undefined ? undefined : { protocol, grpcPort, httpPort, ...present({ user }) };
}
