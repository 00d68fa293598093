/** What serving a request needs. */
import type { BrokerChoice } from "../options.ts";
import type { BerthFolders } from "./fleet-berth.ts";
import type { PeerConnection } from "./peer-connection.ts";

export interface Work {
  readonly connection: PeerConnection;
  /** The broker's state folder. */
  readonly state: string;
  readonly folders: BerthFolders;
  readonly choice: BrokerChoice;
  /** Aborted when the program is to end. */
  readonly signal: AbortSignal;
}
