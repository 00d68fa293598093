/**
 * The other hosts of the page, in their thread, and the answers of the API about their berths: the berth-web of each
 * host has them.
 */
import type { ApiError, BerthDetail, Quiet } from "../api/shapes.ts";
import { type Answer, jsonAnswer, jsonBody, refusal } from "../http/answer.ts";
import { away } from "./away.ts";
import { checked, NotUnderstood, parsed, type ShapeName } from "./checks.ts";
import { Peer, type PeerEvents } from "./peer.ts";
import type { PeerPlace, PeerTls } from "./peer-client.ts";

/** What is asked of a berth. */
export type Part = "series" | "timeline" | undefined;

export class Peers {
  readonly #peers: ReadonlyMap<string, Peer>;

  constructor(places: readonly PeerPlace[], tls: PeerTls, events: PeerEvents) {
    this.#peers = new Map(places.map((place) => [place.name, new Peer(place, tls, events)]));
  }

  start(): void {
    for (const peer of this.#peers.values()) peer.start();
  }

  get all(): readonly Peer[] {
    return [...this.#peers.values()];
  }

  /** What /api/v1/berths/HOST/NAME and the addresses below it answer. */
  async berth(host: string, name: string, part: Part, query: URLSearchParams): Promise<Answer> {
    const path = (own: string): string => {
      const berth = `berths/${encodeURIComponent(own)}/${encodeURIComponent(name)}`;
      return part === undefined ? berth : `${berth}/${part}?${query}`;
    };
    if (part === "series") return this.#answer(host, path, "Series", (series) => series);
    if (part === "timeline") return this.#answer(host, path, "Timeline", (timeline) => timeline);
    return this.#answer(host, path, "BerthDetail", (detail, peer) => named(detail, peer));
  }

  /** What /api/v1/quiet answers. `name` is null for all berths of the host. */
  quiet(host: string, name: string | null): Promise<Answer> {
    const path = (own: string): string => {
      const query = new URLSearchParams(name === null ? { host: own } : { berth: `${own}/${name}` });
      return `quiet?${query}`;
    };
    return this.#answer(host, path, "Quiet", (quiet): Quiet => {
      return { ...quiet, host, berth: name === null ? null : `${host}/${name}` };
    });
  }

  async #answer<N extends ShapeName, T>(
    host: string,
    path: (ownName: string) => string,
    shape: N,
    change: (value: ReturnType<typeof checked<N>>, peer: Peer) => T,
  ): Promise<Answer> {
    const peer = this.#peers.get(host);
    const own = peer?.ownName;
    if (peer === undefined || own === undefined) return away(host, "it has not answered yet");
    try {
      const { status, text } = await peer.get(path(own));
      if (status === 200) return jsonAnswer(jsonBody(change(checked(shape, parsed(text)), peer)));
      return refused(host, status, checked("Error", parsed(text)));
    } catch (error) {
      const why = error instanceof NotUnderstood ? `its answer is not understood: ${error.message}` : messageOf(error);
      return away(host, why);
    }
  }

  async close(): Promise<void> {
    await Promise.all([...this.#peers.values()].map((peer) => peer.close()));
  }
}

/** Its public page is at the peer's address, if a browser can go there. */
function named(detail: BerthDetail, { place }: Peer): BerthDetail {
  const page = detail.publicPage;
  const isPage = page !== null && /^\/p\/[A-Za-z0-9._@-]+$/.test(page) && !place.address.startsWith("unix:");
  return { ...detail, host: place.name, publicPage: isPage ? new URL(page.slice(1), place.address).href : null };
}

/** Only a refusal of the question itself: that this process may not ask is no refusal of its reader. */
function refused(host: string, status: number, { error }: ApiError): Answer {
  const passes = error.code === "not-found" || error.code === "no-history" || error.code === "bad-request";
  return passes ? refusal(status < 400 ? 502 : status, error.code, error.message) : away(host, error.message);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
