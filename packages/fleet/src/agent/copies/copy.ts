/** Does one order about a berth's files. */
import type { TlsFiles } from "../../etcd/channel.ts";
import { Fault } from "../../fault.ts";
import type { CopyOrder, CopyReport, ImageVersion, Offer } from "../../model/copy.ts";
import type { JsonObject } from "../../model/fields.ts";
import type { Content } from "../../store/content.ts";
import { fetchArchive } from "../../store/fetch.ts";
import { imageSubject } from "../../store/image-path.ts";
import type { ChunkStore } from "../../store/store.ts";
import type { Staging } from "./staging.ts";
import type { StateSocket } from "./state-socket.ts";

/** What an order needs. */
export interface Tools {
  readonly store: ChunkStore;
  readonly tls: Required<TlsFiles>;
  readonly state: StateSocket;
  readonly staging: Staging;
  /** The root of a berth that this host holds; undefined: it does not hold it. */
  readonly heldRoot: (berth: string, generation: number) => JsonObject | undefined;
  /** Why this host may not have a berth with this root; undefined: nothing is against it. */
  readonly problemOf: (berth: string, root: JsonObject) => string | undefined;
}

export type Done = Pick<CopyReport, "archive" | "images">;

/** `fetched` is called with the bytes that came from the other host. Throws a {@link Fault} that says why it failed. */
export async function doOrder(
  { berth, generation, task }: CopyOrder,
  tools: Tools,
  fetched: (bytes: number) => void,
  signal: AbortSignal,
): Promise<Done> {
  const { store, tls, state, staging } = tools;
  const subject = `berth-${berth}`;
  const fetch = async (offer: Offer): Promise<void> => {
    await fetchArchive(offer, offer, store, tls, { signal, progress: fetched });
  };
  /** Fetches it once more if chunks that some host has sent before are not what their names say. */
  const contentOf = async (offer: Offer): Promise<Content> => {
    await fetch(offer);
    try {
      return await store.read(offer.name, signal);
    } catch (error) {
      if (!(error instanceof Fault) || error.code !== "BAD_ARCHIVE") throw error;
    }
    await fetch(offer);
    return await store.read(offer.name, signal);
  };
  switch (task.do) {
    case "save":
      return {
        archive: await store.add(subject, state.download({ method: "Save", berth, live: true }, signal), signal),
      };
    case "save-last": {
      const root = tools.heldRoot(berth, generation);
      if (root === undefined) throw new Fault("COPY_FAILED", "its server may still run");
      const save = () => store.add(subject, state.download({ method: "Save", berth, live: false }, signal), signal);
      return { archive: await staging.with(berth, root, save, signal) };
    }
    case "export": {
      const { name, version } = task.image;
      const content = state.download({ method: "ExportImage", image: name, version }, signal);
      return { archive: await store.add(imageSubject(task.image), content, signal) };
    }
    case "prepare": {
      refuse(tools.problemOf(berth, task.root));
      // Before anything is drained: a program that does not run, and a broker that refuses its configuration.
      await state.check(signal);
      await staging.with(berth, task.root, async () => undefined, signal);
      const images: ImageVersion[] = [];
      for (const one of task.images) if (!(await state.hasImage(one.name, one.version, signal))) images.push(one);
      return { images };
    }
    case "fetch":
      await fetch(task.offer);
      return {};
    case "import": {
      const { name, version } = task.image;
      await using content = await contentOf(task.offer);
      await state.upload({ method: "ImportImage", image: name, version }, content, signal);
      return {};
    }
    case "restore": {
      refuse(tools.problemOf(berth, task.root));
      await using content = await contentOf(task.offer);
      const restore = () => state.upload({ method: "Restore", berth }, content, signal);
      await staging.with(berth, task.root, restore, signal);
      return {};
    }
  }
  task satisfies never;
}

function refuse(problem: string | undefined): void {
  if (problem !== undefined) throw new Fault("COPY_FAILED", problem);
}
