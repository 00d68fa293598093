/** What serving a request needs. */
import type { BrokerChoice } from "../options.ts";
import type { BerthFolders } from "./fleet-berth.ts";
import type { PeerConnection } from "./peer-connection.ts";

export interface Work {
  readonly connection: PeerConnection;
  /** Bytes that the files of an image may have. */
  readonly maxBytes: number;
  /** The broker's state folder. */
  readonly state: string;
  readonly folders: BerthFolders;
  readonly choice: BrokerChoice;
  /** Aborted when the program is to end. */
  readonly signal: AbortSignal;
}
