/**
 * The bind fallback: one `berth-launch --keep-binds` process, which runs as long as a server has the bind filter. It
 * answers binds only after the broker has ended, for whatever reason. Without it the kernel answers ENOSYS to every
 * bind(2), also for name look-ups and outgoing connections. It is no parent of a server and holds no socket of one.
 */
import { spawn } from "node:child_process";
import { BerthError, check } from "../../errors.ts";
import type { FdHandle } from "../../fd.ts";
import { launcherPath } from "../../launcher-path.ts";
import type { Log } from "../../log.ts";
import type { Native } from "../../native.ts";
import { socketPair } from "../../net/socket-queries.ts";
import { bindRecord } from "./bind-reports.ts";

const BYTE = new Uint8Array(1);

export class BindFallback {
  readonly #sys: Native;
  readonly #log: Log;
  #channel: FdHandle | undefined;

  constructor(sys: Native, log: Log) {
    this.#sys = sys;
    this.#log = log;
  }

  /** Takes over the fallback of an earlier broker. It ends as soon as nobody has this channel to it. */
  adopt(channel: FdHandle): void {
    this.release();
    this.#channel = channel;
  }

  /** The channel to it, borrowed; undefined when there is none. */
  get fd(): number | undefined {
    return this.#channel?.fd;
  }

  /**
   * Has it hold a second descriptor of a filter, and of the record of what is being answered. Returns that record, the
   * caller's. If it cannot, it logs that, and delivery still works.
   */
  keep(notify: number, stored?: FdHandle): FdHandle | undefined {
    let record = stored;
    try {
      record ??= bindRecord(this.#sys);
      // If an earlier broker started it, nobody told us when it ended.
      if (this.#channel === undefined || this.#send(this.#channel, notify, record) < 0) {
        this.release();
        this.#channel = this.#start();
        check("sendmsg", this.#send(this.#channel, notify, record));
      }
      return record;
    } catch (error) {
      record?.close();
      if (!(error instanceof BerthError)) throw error;
      this.release();
      this.#log(
        "warning",
        `the bind fallback did not start: ${error.message}; a bind after the broker's end will get ENOSYS`,
        {
          event: "no-keeper",
        },
      );
      return undefined;
    }
  }

  /** Closes the channel. The fallback ends with the last filter it holds. Idempotent. */
  release(): void {
    this.#channel?.close();
    this.#channel = undefined;
  }

  #send(channel: FdHandle, notify: number, record: FdHandle): number {
    return this.#sys.sendmsg(channel.fd, BYTE, 0, Int32Array.of(notify, record.fd), 2);
  }

  #start(): FdHandle {
    const path = launcherPath();
    const [ours, theirs] = socketPair("stream", this.#sys);
    using _ = theirs;
    const child = spawn(path, ["--keep-binds", "3"], {
      detached: true,
      stdio: ["ignore", "ignore", "inherit", theirs.fd],
    });
    child.on("error", (error) => {
      this.#log("warning", `the bind fallback did not start: ${error.message}`, { event: "no-keeper" });
      if (this.#channel === ours) this.release();
    });
    child.on("exit", () => {
      // The next server gets a new fallback. The servers it held filters of have none.
      if (this.#channel === ours) this.release();
    });
    child.unref();
    return ours;
  }
}
