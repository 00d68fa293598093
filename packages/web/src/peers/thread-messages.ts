/** What the page's thread and the thread of the peers send each other. */
import type { BerthRow, Host, StreamTimeline } from "../api/shapes.ts";
import type { PeerPlace, PeerTls } from "./peer-client.ts";
import type { Part } from "./peers.ts";

export interface ThreadStart {
  readonly places: readonly PeerPlace[];
  readonly tls: PeerTls;
}

export type Question =
  | {
      readonly kind: "berth";
      readonly host: string;
      readonly name: string;
      readonly part: Part;
      readonly query: string;
    }
  | { readonly kind: "quiet"; readonly host: string; readonly name: string | null };

export interface AskThread {
  readonly id: number;
  readonly question: Question;
}

export type ThreadSays =
  | { readonly kind: "host"; readonly host: Host; readonly hasAnswered: boolean }
  /** `isAll`: the first of a thread; berths that it does not name are gone. */
  | {
      readonly kind: "rows";
      readonly host: string;
      readonly isAll: boolean;
      readonly changed: readonly BerthRow[];
      readonly removed: readonly string[];
    }
  | { readonly kind: "timeline"; readonly happened: StreamTimeline }
  | { readonly kind: "say"; readonly message: string }
  | { readonly kind: "answer"; readonly id: number; readonly status: number; readonly bytes: Uint8Array };
