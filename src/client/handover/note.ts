/**
 * What two tenants of one berth say to each other in a handover, by stashed descriptors: the newcomer's stash
 * `berthd.LEASE.wants` asks the present tenant for its connections. They come as `berthd.LEASE.0` and so on, and last
 * `berthd.LEASE.note`, a file in memory that tells of them. LEASE is the newcomer's in all names, so that nobody takes
 * what was left for another. The form of the note is private to this library, and has a version.
 */
import { fstatSync, readSync, writeSync } from "node:fs";
import { BerthError, check } from "../../errors.ts";
import { FdHandle } from "../../fd.ts";
import { native } from "../../native.ts";
import { isObject } from "../../varlink/json.ts";

const PREFIX = "berthd.";
const WANTS = ".wants";
const VERSION = 1;
/** Bytes. A note is larger only if what a program says of its connections is. */
const MOST = 64 * 1024 * 1024;

/** The stash by which the newcomer with that lease asks for connections. */
export const wantsName = (lease: string): string => `${PREFIX}${lease}${WANTS}`;
/** The stash with the answer. */
export const noteName = (lease: string): string => `${PREFIX}${lease}.note`;
/** The stash of a connection. */
export const connectionName = (lease: string, index: number): string => `${PREFIX}${lease}.${index}`;

/** The lease of the newcomer that asks by a stash of that name. */
export function newcomerOf(name: unknown): string | undefined {
  if (typeof name !== "string" || !name.startsWith(PREFIX) || !name.endsWith(WANTS)) return undefined;
  return name.slice(PREFIX.length, -WANTS.length);
}

/** The names of the descriptors in a broker's description of a berth. */
export function descriptorNames({ descriptors }: Readonly<Record<string, unknown>>): unknown[] {
  return Array.isArray(descriptors) ? descriptors.map((one: unknown) => (isObject(one) ? one["name"] : undefined)) : [];
}

export interface NotedConnection {
  /** The name of its stash. */
  readonly name: string;
  /** What its last reader had received and not used. */
  readonly unread: Uint8Array;
  /** What the program says of it. */
  readonly state: Uint8Array;
}

export interface Note {
  readonly connections: readonly NotedConnection[];
  readonly state: Uint8Array;
}

/** A memfd with the note: memfd_create(2). */
export function writeNote(note: Note): FdHandle {
  const connections = note.connections.map(({ name, unread, state }) => ({
    name,
    unread: text(unread),
    state: text(state),
  }));
  const bytes = Buffer.from(JSON.stringify({ version: VERSION, connections, state: text(note.state) }));
  if (bytes.length > MOST)
    throw new BerthError(
      "MESSAGE_TOO_LARGE",
      `the state that is handed over is ${bytes.length} bytes; at most ${MOST} are`,
    );
  const memfd = emptyFile();
  try {
    for (let at = 0; at < bytes.length; ) at += writeSync(memfd.fd, bytes, at);
    return memfd;
  } catch (error) {
    memfd.close();
    throw error;
  }
}

/** A file in memory with nothing in it. */
export function emptyFile(): FdHandle {
  return FdHandle.adopt(check("memfd_create", native.memfd("berth-handover")));
}

/** Reads a note from its beginning, wherever its writer stands in it. Throws PROTOCOL_ERROR. */
export function readNote(fd: number): Note {
  const { size } = fstatSync(fd);
  if (size > MOST) throw malformed();
  const bytes = Buffer.alloc(size);
  let read = 0;
  for (let more = 1; more > 0 && read < size; read += more) more = readSync(fd, bytes, read, size - read, read);
  let note: unknown;
  try {
    note = JSON.parse(bytes.toString("utf8", 0, read));
  } catch {
    throw malformed();
  }
  if (!isObject(note) || note["version"] !== VERSION || !Array.isArray(note["connections"])) throw malformed();
  return { connections: note["connections"].map(notedConnection), state: bytesOf(note["state"]) };
}

function notedConnection(entry: unknown): NotedConnection {
  if (!isObject(entry) || typeof entry["name"] !== "string") throw malformed();
  return { name: entry["name"], unread: bytesOf(entry["unread"]), state: bytesOf(entry["state"]) };
}

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString("base64");

function bytesOf(value: unknown): Buffer {
  if (typeof value !== "string") throw malformed();
  return Buffer.from(value, "base64");
}

function malformed(): BerthError {
  return new BerthError(
    "PROTOCOL_ERROR",
    "what the earlier tenant left of its connections is not understood; is its berthd library of this version?",
  );
}
