/** The options that name other hosts. */
import { Fault } from "../fault.ts";
import type { PeerPlace } from "../peers/peer.ts";
import type { PeerCredentials } from "../peers/peer-client.ts";
import { readNamed, readToken } from "./files.ts";
import { isLoopback } from "./listen.ts";

export interface PeerFiles {
  readonly token: string | undefined;
  readonly ca: string | undefined;
  readonly cert: string | undefined;
  readonly key: string | undefined;
}

const HOST_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;

/** `h2=https://h2.example:9115`. Throws USAGE. */
export function parsePeer(text: string): PeerPlace {
  const [name = "", address = ""] = text.split(/=(.*)/s);
  const url = URL.canParse(address) ? new URL(address) : undefined;
  if (!HOST_NAME.test(name) || url === undefined || !/^https?:$/.test(url.protocol)) {
    throw usage(text, "write NAME=URL, as h2=https://h2.example:9115");
  }
  if (url.username !== "" || url.search !== "" || url.hash !== "") {
    throw usage(text, "the URL has no password, query or fragment; a token is given with --peer-token-file");
  }
  if (!url.pathname.endsWith("/")) url.pathname += "/";
  return { name, url };
}

/** Throws USAGE for two hosts of one name, and where a token would travel in clear text. */
export function checkPeers(peers: readonly PeerPlace[], own: string, files: PeerFiles): void {
  const names = new Set([own]);
  for (const { name, url } of peers) {
    if (names.has(name)) {
      const whose = name === own ? "is this host's own name" : "names two hosts";
      throw new Fault("USAGE", `--peer ${name}=… ${whose}; give each host a name of its own`);
    }
    names.add(name);
    if (files.token !== undefined && url.protocol === "http:" && !isLoopback(url.hostname.replace(/^\[|\]$/g, ""))) {
      throw new Fault("USAGE", `--peer ${name}=${url.href} would send the token in clear text; use https://`);
    }
  }
  if ((files.cert === undefined) !== (files.key === undefined)) {
    throw new Fault("USAGE", "--peer-cert and --peer-key go together");
  }
  if (peers.length === 0 && Object.values(files).some((file) => file !== undefined)) {
    throw new Fault("USAGE", "--peer-token-file, --peer-ca, --peer-cert and --peer-key need --peer NAME=URL");
  }
}

/** Throws FILE_UNREADABLE or USAGE. */
export function readCredentials({ token, ca, cert, key }: PeerFiles): PeerCredentials {
  const read = (option: string, path: string | undefined): Buffer | undefined =>
    path === undefined ? undefined : readNamed(option, path);
  return {
    token: token === undefined ? undefined : readToken(token),
    ca: read("--peer-ca", ca),
    cert: read("--peer-cert", cert),
    key: read("--peer-key", key),
  };
}

function usage(text: string, remedy: string): Fault {
  return new Fault("USAGE", `--peer ${text} is no other host: ${remedy}`);
}
