/** What happened to a fleet: told by the program, by servers in a file of theirs, and by etcd, which keeps all. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { follow } from "../../packages/fleet/dist/index.js";

/** A server that says when it starts and ends. Its argument is the berth. */
const SERVER = `say() {
  printf '{"kind":"%s","host":"%s","berth":"%s","generation":%s,"ms":%s}\\n' \\
    "$1" "$FLEET_HOST" "$2" "$BERTH_GENERATION" "$(date +%s%3N)" >>"$FLEET_EVENTS"
}
say started "$1"
trap 'say ended "$1"; exit' TERM
while :; do sleep 1 & wait "$!"; done`;

export class History {
  #events = [];
  #file;
  #client;
  #keys;

  constructor(folder, client, keys) {
    this.#file = join(folder, "events");
    writeFileSync(this.#file, "");
    this.#client = client;
    this.#keys = keys;
  }

  /** The environment in which a host's servers find the file. */
  environment(host) {
    return { FLEET_HOST: host, FLEET_EVENTS: this.#file };
  }

  /** A berth whose server writes to the file. */
  get berth() {
    const command = ["sh", "-c", SERVER.replaceAll("%", "%%"), "sh", "%n"];
    return { sockets: { game: { listen: ["udp://0.0.0.0:0"] } }, server: { command, user: "root" } };
  }

  record(event) {
    this.#events.push(event);
  }

  /** Records which hosts have a key in etcd, until the signal. */
  async followHosts(signal) {
    const present = new Set();
    const see = (host, isThere) => {
      if (present.has(host) === isThere) return;
      if (isThere) present.add(host);
      else present.delete(host);
      this.record({ kind: isThere ? "leased" : "unleased", host, ms: Date.now() });
    };
    const nameIn = (key) => this.#keys.nameIn(key);
    for await (const one of follow(this.#client, { prefix: this.#keys.all("host") }, signal)) {
      if (one.kind === "all") {
        const now = new Set(one.entries.map(({ key }) => nameIn(key)));
        for (const host of [...present, ...now]) see(host, now.has(host));
      }
      for (const event of one.kind === "changes" ? one.events : [])
        see(nameIn(event.kind === "put" ? event.entry.key : event.key), event.kind === "put");
    }
  }

  /** All until now. */
  async read() {
    const servers = readFileSync(this.#file, "utf8").split("\n").filter(Boolean);
    return [...(await this.#changes()), ...servers.map((line) => JSON.parse(line)), ...this.#events];
  }

  /** Every change in etcd: nothing compacts it. */
  async #changes() {
    const { prefix } = this.#keys;
    const end = `${prefix}end`;
    const { revision: last } = await this.#client.commit([], [{ put: end, value: '"the end of a history"' }]);
    const stop = new AbortController();
    const changes = [];
    for await (const events of this.#client.watch({ prefix }, 1, stop.signal)) {
      for (const event of events) {
        const { key, value, revision } = event.kind === "put" ? event.entry : event;
        const name = key.slice(prefix.length);
        changes.push({ kind: event.kind, revision, key: name, ...(event.kind === "put" && { value }) });
        if (revision >= last) stop.abort();
      }
    }
    return changes;
  }
}
