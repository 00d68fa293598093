/** The options that name other hosts. */
import { Fault } from "../fault.ts";
import type { PeerPlace, PeerTls } from "../peers/peer-client.ts";
import { readNamed, readToken } from "./files.ts";

/** A peer as the command line names it. */
export interface NamedPeer {
  readonly name: string;
  readonly address: string;
  readonly tokenFile: string | undefined;
}

export interface PeerOptions {
  readonly peers: readonly NamedPeer[];
  readonly ca: string | undefined;
  readonly cert: string | undefined;
  readonly key: string | undefined;
}

const HOST_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;

/** What `--peer NAME=ADDRESS`, `--peer-token-file NAME=FILE` and the others ask for. Throws USAGE. */
export function peerOptions(
  ownName: string,
  texts: { readonly peers: readonly string[]; readonly tokenFiles: readonly string[] },
  { ca, cert, key }: Omit<PeerOptions, "peers">,
): PeerOptions {
  const tokenFiles = new Map(texts.tokenFiles.map(tokenFile));
  const peers: NamedPeer[] = [];
  for (const text of texts.peers) {
    const { name, address } = parsePeer(text);
    if (name === ownName) throw new Fault("USAGE", `--peer ${name}=… is this host's own name; give it another one`);
    if (peers.some((other) => other.name === name)) {
      throw new Fault("USAGE", `--peer ${name}=… names two hosts; give each a name of its own`);
    }
    peers.push({ name, address, tokenFile: tokenFiles.get(name) });
    if (tokenFiles.delete(name) && address.startsWith("http:")) {
      throw new Fault(
        "USAGE",
        `--peer ${name}=${address} would send the token to any program that listens there; use https:// or unix:PATH`,
      );
    }
  }
  for (const name of tokenFiles.keys()) throw new Fault("USAGE", `--peer-token-file ${name}=… needs --peer ${name}=…`);
  if ((cert === undefined) !== (key === undefined)) {
    throw new Fault("USAGE", "--peer-cert and --peer-key go together");
  }
  if (peers.length === 0 && (ca ?? cert) !== undefined) {
    throw new Fault("USAGE", "--peer-ca, --peer-cert and --peer-key need --peer NAME=ADDRESS");
  }
  return { peers, ca, cert, key };
}

function parsePeer(text: string): { readonly name: string; readonly address: string } {
  const [name = "", address = ""] = text.split(/=(.*)/s);
  const url = URL.canParse(address) ? new URL(address) : undefined;
  if (!HOST_NAME.test(name) || url === undefined || !/^(https?|unix):$/.test(url.protocol)) {
    throw wrong(text, "write NAME=ADDRESS, as h2=https://h2.example:9115 or h2=unix:/run/berth-web/h2.sock");
  }
  if (url.protocol === "unix:") {
    if (!address.startsWith("unix:/")) throw wrong(text, "a UNIX socket needs an absolute path");
    return { name, address };
  }
  if (url.username !== "" || url.search !== "" || url.hash !== "") {
    throw wrong(text, "the URL has no password, query or fragment; a token is given with --peer-token-file NAME=FILE");
  }
  if (!url.pathname.endsWith("/")) url.pathname += "/";
  return { name, address: url.href };
}

function tokenFile(text: string): [string, string] {
  const [name = "", path = ""] = text.split(/=(.*)/s);
  if (HOST_NAME.test(name) && path !== "") return [name, path];
  throw new Fault("USAGE", `--peer-token-file ${text} names no peer: write NAME=FILE`);
}

/** Throws FILE_UNREADABLE or USAGE. */
export function readPeers({ peers, ca, cert, key }: PeerOptions): {
  readonly places: readonly PeerPlace[];
  readonly tls: PeerTls;
} {
  const read = (option: string, path: string | undefined): string | undefined =>
    path === undefined ? undefined : readNamed(option, path).toString("utf8");
  return {
    places: peers.map(({ name, address, tokenFile: path }) => {
      return { name, address, token: path === undefined ? undefined : readToken(path) };
    }),
    tls: { ca: read("--peer-ca", ca), cert: read("--peer-cert", cert), key: read("--peer-key", key) },
  };
}

function wrong(text: string, remedy: string): Fault {
  return new Fault("USAGE", `--peer ${text} is no other host: ${remedy}`);
}
