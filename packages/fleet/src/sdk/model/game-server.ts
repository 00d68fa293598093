/** What GetGameServer and WatchGameServer tell, in the two forms that there are. Pure. */
import type { BerthRecord, LeaseRecord } from "berthd";
import type { Sink } from "../wire/sink.ts";
import type { Metadata } from "./metadata.ts";
import type { Players } from "./players.ts";
import type { Tallies } from "./tallies.ts";

/** The states of Agones that a server can be in here. Scheduled: it has started, and is not ready yet. */
export type State = "Scheduled" | "Ready" | "Reserved" | "Allocated" | "Unhealthy" | "Shutdown";

export interface GameServer {
  readonly berth: BerthRecord;
  readonly lease: LeaseRecord;
  readonly state: State;
  /** How often something of it has changed. */
  readonly version: number;
  /** What players type for a socket that listens on every address. */
  readonly address: string;
  readonly metadata: Metadata;
  readonly tallies: Tallies;
  readonly players: Players;
}

/** Its GameServer: names and numbers are those of proto/sdk/sdk.proto of github.com/googleforgames/agones. */
export function writeGameServer(server: GameServer): (sink: Sink) => void {
  const { berth, lease, state, version, metadata, tallies, players } = server;
  const places = placesOf(berth);
  return (sink) => {
    sink.message(1, "object_meta", (meta) => {
      meta.text(1, "name", berth.name);
      meta.text(2, "namespace", "default");
      meta.text(3, "uid", lease.id);
      meta.text(4, "resource_version", String(version));
      meta.long(5, "generation", 1);
      meta.long(6, "creation_timestamp", Math.floor((lease.since ?? 0) / 1_000_000));
      meta.long(7, "deletion_timestamp", Math.floor((berth.drain?.began ?? 0) / 1_000_000));
      meta.texts(8, "annotations", metadata.annotations);
      meta.texts(9, "labels", metadata.labels);
    });
    sink.message(2, "spec", (spec) => {
      spec.message(1, "health", (health) => {
        const seconds = Math.round((berth.sdk?.watchdog ?? 0) / 1_000_000);
        health.flag(1, "disabled", seconds === 0);
        health.integer(2, "period_seconds", seconds);
        health.integer(3, "failure_threshold", 1);
        health.integer(4, "initial_delay_seconds", 0);
      });
    });
    sink.message(3, "status", (status) => {
      status.text(1, "state", state);
      status.text(2, "address", places.find(({ host }) => host !== undefined)?.host ?? server.address);
      status.messages(3, "ports", places, (place, { name, port }) => {
        place.text(1, "name", name);
        place.integer(2, "port", port);
      });
      if (players.isUsed)
        status.message(4, "players", (message) => {
          message.long(1, "count", players.count);
          message.long(2, "capacity", players.capacity);
          message.list(3, "ids", players.ids);
        });
      status.entries(5, "counters", tallies.counters, (message, { count, capacity }) => {
        message.long(1, "count", count);
        message.long(2, "capacity", capacity);
      });
      status.entries(6, "lists", tallies.lists, (message, { capacity, values }) => {
        message.long(1, "capacity", capacity);
        message.list(2, "values", values);
      });
    });
  };
}

interface Place {
  readonly name: string;
  readonly port: number;
  /** Undefined: every address. */
  readonly host: string | undefined;
}

/** Its sockets that have a port. */
function placesOf({ descriptors }: BerthRecord): Place[] {
  return descriptors.flatMap(({ name, address }) => {
    const [, host = "", port] = /^(?:tcp|udp):\/\/(.+):(\d+)$/.exec(address ?? "") ?? [];
    if (port === undefined) return [];
    const bare = host.replace(/^\[|\]$/g, "");
    return [{ name, port: Number(port), host: ["0.0.0.0", "::", "*"].includes(bare) ? undefined : bare }];
  });
}
