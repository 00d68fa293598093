/** The command line of `berth-web`. */
import { hostname } from "node:os";
import { parseArgs } from "node:util";
import { Fault } from "../fault.ts";
import { type ListenPlace, parseListen } from "./listen.ts";
import { type PeerOptions, peerOptions } from "./peers.ts";

export interface WebOptions {
  /** Empty: the sockets come from the launcher. */
  readonly listen: readonly ListenPlace[];
  /** The broker's socket; undefined: the usual places. */
  readonly socket: string | undefined;
  /** Names that a browser may use for this server, besides loopback ones. */
  readonly hostNames: readonly string[];
  readonly tokenFile: string | undefined;
  readonly tls: TlsFiles | undefined;
  /** A file, a postgres:// address, or undefined for none. */
  readonly history: string | undefined;
  /** What players type instead of a wildcard address. */
  readonly address: string | undefined;
  /** Berths with a public page, with their titles. */
  readonly publicBerths: ReadonlyMap<string, string>;
  /** The name of this host in addresses of the page. */
  readonly host: string;
  /** Other hosts that the page shows as well. */
  readonly peers: PeerOptions;
  readonly json: boolean;
}

export interface TlsFiles {
  readonly cert: string;
  readonly key: string;
  readonly clientCa: string | undefined;
}

export const usage = `Usage: berth-web [OPTION]...

Serves the status page, /metrics and /api/v1 of the broker on this host. It reads, and changes nothing.
Without --listen it takes its sockets from the launcher: berth run web.

  --listen ADDRESS      127.0.0.1:PORT, [::1]:PORT or unix:PATH; may be given several times
  --socket PATH         the broker's socket (default: $BERTHD_SOCKET, else the usual places)
  --history FILE        keep the history in this file, or in postgres://USER@HOST/DATABASE
                        (default: history.db in $STATE_DIRECTORY; none without that)
  --host-name NAME      a name or address that browsers use for this server; may be given several times
  --address NAME        what players type for a berth that listens on every address
  --public NAME=TITLE   make a public page for this berth, at /p/NAME; may be given several times
  --token-file FILE     ask for the token in this file: as a bearer token, or as the password of a browser
  --tls-cert FILE --tls-key FILE
                        serve HTTPS
  --client-ca FILE      with --tls-cert: ask for a client certificate of this authority
  --peer NAME=ADDRESS   also show the host whose berth-web answers at https://…, http://… or unix:PATH; may be
                        given several times
  --peer-token-file NAME=FILE
                        the token that this peer asks for
  --peer-ca FILE        believe peers whose certificates are of this authority
  --peer-cert FILE --peer-key FILE
                        the certificate for peers that ask for one
  --json                print errors as JSON
  --help                print this
  --version             print the version

An address that other machines reach needs --token-file or --client-ca.
Exit codes: 0 stopped by a signal, 100 wrong usage, 111 the system refused something.
`;

const flags = {
  listen: { type: "string", multiple: true },
  socket: { type: "string" },
  history: { type: "string" },
  "host-name": { type: "string", multiple: true },
  address: { type: "string" },
  public: { type: "string", multiple: true },
  "token-file": { type: "string" },
  "tls-cert": { type: "string" },
  "tls-key": { type: "string" },
  "client-ca": { type: "string" },
  peer: { type: "string", multiple: true },
  "peer-token-file": { type: "string", multiple: true },
  "peer-ca": { type: "string" },
  "peer-cert": { type: "string" },
  "peer-key": { type: "string" },
  json: { type: "boolean" },
  help: { type: "boolean" },
  version: { type: "boolean" },
} as const;

/** What the arguments ask for. Throws USAGE. */
export function parseOptions(args: readonly string[], env: NodeJS.ProcessEnv): WebOptions | "help" | "version" {
  const values = parse(args);
  if (values.help) return "help";
  if (values.version) return "version";
  const folder = env["STATE_DIRECTORY"]?.split(":")[0];
  const host = hostname().split(".")[0] || "localhost";
  const peerTexts = { peers: values.peer ?? [], tokenFiles: values["peer-token-file"] ?? [] };
  const peerTls = { ca: values["peer-ca"], cert: values["peer-cert"], key: values["peer-key"] };
  return {
    listen: (values.listen ?? []).map(parseListen),
    socket: values.socket,
    hostNames: values["host-name"] ?? [],
    tokenFile: values["token-file"],
    tls: tlsFiles(values["tls-cert"], values["tls-key"], values["client-ca"]),
    history: values.history ?? (folder ? `${folder}/history.db` : undefined),
    address: values.address,
    publicBerths: new Map((values.public ?? []).map(publicBerth)),
    host,
    peers: peerOptions(host, peerTexts, peerTls),
    json: values.json ?? false,
  };
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({ args: [...args], options: flags, strict: true, allowPositionals: false }).values;
  } catch (error) {
    throw new Fault("USAGE", `${error instanceof Error ? error.message : error}; see berth-web --help`);
  }
}

function tlsFiles(cert?: string, key?: string, clientCa?: string): TlsFiles | undefined {
  if (cert !== undefined && key !== undefined) return { cert, key, clientCa };
  if (cert === undefined && key === undefined && clientCa === undefined) return undefined;
  throw new Fault("USAGE", "--tls-cert and --tls-key go together, and --client-ca needs both");
}

/** Berth names as the broker allows them. */
const BERTH_NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]*(@[A-Za-z0-9_.-]+)?$/;

function publicBerth(text: string): [string, string] {
  const [name = "", title = name] = text.split(/=(.*)/s);
  if (!BERTH_NAME.test(name)) throw new Fault("USAGE", `--public ${text} names no berth: write NAME=TITLE`);
  return [name, title];
}
