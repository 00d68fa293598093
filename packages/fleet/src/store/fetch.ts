/** Fetches an archive from the store of another agent: its index, and only chunks that this host does not have. */
import { X509Certificate } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { Agent, get } from "node:https";
import type { TlsFiles } from "../etcd/channel.ts";
import { sleep } from "../etcd/follow.ts";
import { Fault } from "../fault.ts";
import { archive as archiveReader } from "../model/copy.ts";
import { fromJson } from "../model/fields.ts";
import { type ImageName, imagePath, imageSubject } from "./image-path.ts";
import { subjectOf } from "./names.ts";
import type { Archive, ChunkStore } from "./store.ts";

/** The agent that has an archive. */
export interface Source {
  /** Its name in the fleet, and the CN of its certificate. */
  readonly host: string;
  /** ADDRESS:PORT of its store. */
  readonly store: string;
}

export interface Fetched {
  /** That came from the other host, without what HTTP and TLS add. */
  readonly bytes: number;
  /** Chunks that were missing here. */
  readonly chunks: number;
}

export interface FetchOptions {
  readonly signal: AbortSignal;
  /** `share`: of the missing chunks, from 0 to 1. */
  readonly progress: (bytes: number, share: number) => void;
  readonly pace?: Pace;
}

/** When a source is given up. */
export interface Pace {
  /** It has sent nothing for so long. */
  readonly idleMs: number;
  /** One file comes more slowly than this, after the first `idleMs`. */
  readonly bytesPerSecond: number;
}

const AT_ONCE = 8;
const TRIES = 3;
/** Eight files come at once, so this is a line of 1 Mbit/s. */
const PACE: Pace = { idleMs: 30_000, bytesPerSecond: 16 * 1024 };
/** casync's chunks have at most 256 KiB, and somewhat more if they cannot be compressed. */
const LONGEST_CHUNK = 1024 * 1024;
const LONGEST_ANSWER = 4096;
const FIRST_PAUSE_MS = 100;
const LAST_PAUSE_MS = 1_000;

/** Throws STORE_UNREACHABLE, BAD_ARCHIVE, STORE_FULL. */
export async function fetchArchive(
  archive: Archive,
  source: Source,
  store: ChunkStore,
  tls: Required<TlsFiles>,
  { signal, progress, pace = PACE }: FetchOptions,
): Promise<Fetched> {
  const agent = agentFor(source, tls);
  let bytes = 0;
  let [done, all] = [0, 1];
  const file = async (path: string, longest: number, until: AbortSignal): Promise<Buffer> => {
    const content = await again(() => read(agent, source, path, longest, pace, until), until);
    bytes += content.length;
    progress(bytes, done / all);
    return content;
  };
  try {
    const index = await file(`/indexes/${archive.name}`, store.longestIndexOf(archive), signal);
    const chunks = await store.take(archive, index, async (missing, put) => {
      all = Math.max(1, missing.length);
      const failed = new AbortController();
      const until = AbortSignal.any([signal, failed.signal]);
      const waiting = missing.values();
      const work = async (): Promise<void> => {
        for (const chunk of waiting) {
          await put(chunk, await file(`/chunks/${chunk}`, LONGEST_CHUNK, until));
          progress(bytes, ++done / all);
        }
      };
      const works = Array.from({ length: AT_ONCE }, async () => {
        try {
          await work();
        } catch (error) {
          failed.abort(error);
        }
      });
      await Promise.all(works);
      // The first one: it has ended the others.
      failed.signal.throwIfAborted();
      return missing.length;
    });
    return { bytes, chunks };
  } finally {
    agent.destroy();
  }
}

/**
 * Has another agent make an archive of an image that it has, and waits so long for that. Throws STORE_UNREACHABLE,
 * BAD_ARCHIVE if it has no such image or cannot send it.
 */
export async function askForImage(
  image: ImageName,
  source: Source,
  tls: Required<TlsFiles>,
  longestMs: number,
  signal: AbortSignal,
): Promise<Archive> {
  const agent = agentFor(source, tls);
  const path = imagePath(image);
  try {
    const end = performance.now() + longestMs;
    for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(LAST_PAUSE_MS, pause * 2)) {
      const answer = await again(() => read(agent, source, path, LONGEST_ANSWER, PACE, signal), signal);
      if (answer.length > 0) return archiveIn(answer, image, source);
      if (performance.now() > end)
        throw new Fault(
          "STORE_UNREACHABLE",
          `${source.host} makes no archive of the image in ${Math.round(longestMs / 1000)} s`,
        );
      await sleep(pause, signal);
    }
  } finally {
    agent.destroy();
  }
}

/** Throws INVALID_RECORD, and BAD_ARCHIVE for a name of other archives: the store keeps few of each subject. */
function archiveIn(answer: Buffer, { name, version }: ImageName, { host }: Source): Archive {
  const archive = fromJson(answer.toString(), archiveReader, `the answer of ${host}`);
  if (subjectOf(archive.name) === imageSubject({ name, version })) return archive;
  throw new Fault("BAD_ARCHIVE", `${host} calls its archive of the image ${archive.name}`);
}

/** Certificates of the fleet name hosts by their CN. Where all hosts share one certificate, the other has ours. */
function agentFor({ host }: Source, tls: Required<TlsFiles>): Agent {
  const own = new X509Certificate(tls.cert).raw;
  return new Agent({
    ...{ ...tls, keepAlive: true, maxSockets: AT_ONCE, minVersion: "TLSv1.3" },
    checkServerIdentity: (_, { subject, raw }) => {
      if (subject.CN === host || own.equals(raw)) return undefined;
      return new Error(`its certificate is that of ${JSON.stringify(subject.CN)}, not of ${host}`);
    },
  });
}

async function again<T>(attempt: () => Promise<T>, signal: AbortSignal): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await attempt();
    } catch (error) {
      signal.throwIfAborted();
      if (tries === TRIES || !(error instanceof Fault) || error.code !== "STORE_UNREACHABLE") throw error;
    }
  }
}

function read(
  agent: Agent,
  from: Source,
  path: string,
  longest: number,
  { idleMs, bytesPerSecond }: Pace,
  signal: AbortSignal,
): Promise<Buffer> {
  const fault = (why: string, cause?: unknown): Fault =>
    new Fault("STORE_UNREACHABLE", `cannot fetch from the store of ${from.host}, ${from.store}: ${why}`, { cause });
  return new Promise<Buffer>((resolve, reject) => {
    const request = get(`https://${from.store}${path}`, { agent, signal, timeout: idleMs });
    const giveUp = (why: string): void => {
      reject(fault(why));
      request.destroy();
    };
    // A byte now and then is no silence.
    const late = setTimeout(() => giveUp("it is too slow"), idleMs + (longest / bytesPerSecond) * 1000);
    request.on("close", () => clearTimeout(late));
    request.on("timeout", () => giveUp(`it did not answer for ${idleMs / 1000} s`));
    request.on("error", (error) => reject(signal.aborted ? signal.reason : fault(error.message, error)));
    request.on("response", (response) => {
      // 202: it has nothing yet.
      if (response.statusCode === 200 || response.statusCode === 202) {
        content(response, longest).then(resolve, (error: unknown) => reject(fault(messageOf(error), error)));
        return;
      }
      response.resume();
      const what = path.startsWith("/images/") ? "that image" : "the archive";
      const why =
        response.statusCode === 404
          ? `it does not have ${what} any more; try again`
          : `it answers with ${response.statusCode}`;
      reject(new Fault("BAD_ARCHIVE", fault(why).message));
    });
  });
}

async function content(response: IncomingMessage, longest: number): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let length = 0;
  for await (const piece of response) {
    if (!Buffer.isBuffer(piece)) continue;
    length += piece.length;
    if (length > longest) throw new Error(`a file has more than ${longest} bytes`);
    pieces.push(piece);
  }
  if (length !== Number(response.headers["content-length"])) throw new Error("the answer has ended too early");
  return Buffer.concat(pieces);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
