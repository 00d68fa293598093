/** Where the server listens, and whether that is safe without a proof of who asks. Pure. */
import { isIP } from "node:net";
import { Fault } from "../fault.ts";
import { isTooLong, tooLong } from "../listen-fault.ts";

export type ListenPlace =
  | { readonly kind: "tcp"; readonly host: string; readonly port: number }
  | { readonly kind: "unix"; readonly path: string };

/** `127.0.0.1:9115`, `[::1]:9115`, `localhost:9115`, `unix:/run/web.sock`. Throws USAGE. */
export function parseListen(text: string): ListenPlace {
  if (text.startsWith("unix:")) {
    const path = text.slice("unix:".length);
    if (!path.startsWith("/")) throw usage(text, "a UNIX socket needs an absolute path: unix:/run/berth-web.sock");
    if (isTooLong(path)) throw usage(text, tooLong);
    return { kind: "unix", path };
  }
  const match = /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  if (match === null || port > 65_535) throw usage(text, "write ADDRESS:PORT or unix:PATH, as 127.0.0.1:9115");
  const host = match[1] ?? match[2] ?? "";
  if (isIP(host) === 0 && host !== "localhost") throw usage(text, "write the address as a number, as 127.0.0.1:9115");
  return { kind: "tcp", host, port };
}

function usage(text: string, remedy: string): Fault {
  return new Fault("USAGE", `--listen ${text} is not an address: ${remedy}`);
}

/** Whether only this machine reaches it. */
export function isLocal(place: { readonly kind: string; readonly host?: string }): boolean {
  return place.kind === "unix" || isLoopback(place.host ?? "");
}

/** Of a numeric address, or of the name localhost. */
export function isLoopback(host: string): boolean {
  const plain = host.replace(/^::ffff:/i, "");
  return plain === "localhost" || plain === "::1" || /^127\.\d+\.\d+\.\d+$/.test(plain);
}
