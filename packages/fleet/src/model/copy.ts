/** The files of a berth on their way to another host: what each of the two hosts shall do, and what it says of it. */
import { isArchiveName } from "../store/names.ts";
import type { Archive } from "../store/store.ts";
import { Fields, integer, invalid, type JsonObject, jsonObject, list, oneOf, type Reader, text } from "./fields.ts";
import { bytes, storeAddress } from "./host.ts";
import { berthName, hostName, imageName, imageVersionName } from "./names.ts";
import { generation } from "./placement.ts";

/** A version of an image. */
export interface ImageVersion {
  readonly name: string;
  readonly version: string;
}

/** Where an archive is. */
export interface Offer extends Archive {
  readonly host: string;
  /** ADDRESS:PORT of its store. */
  readonly store: string;
}

/**
 * - `save`: archive the berth's files while its server runs; some may be torn.
 * - `save-last`: the same once the host holds the berth, so that nothing writes to them.
 * - `export`: archive a version of an image.
 * - `prepare`: say whether this host can have the berth, and which of these versions it does not have.
 * - `fetch`: get an archive. `import`: and make an image of it. `restore`: and make it the berth's files.
 */
export type CopyTask =
  | { readonly do: "save" | "save-last" }
  | { readonly do: "export"; readonly image: ImageVersion }
  /** `root`: of the berth file that it gets here. */
  | { readonly do: "prepare"; readonly images: readonly ImageVersion[]; readonly root: JsonObject }
  | { readonly do: "fetch"; readonly offer: Offer }
  | { readonly do: "import"; readonly offer: Offer; readonly image: ImageVersion }
  | { readonly do: "restore"; readonly offer: Offer; readonly root: JsonObject };

export interface CopyOrder {
  readonly berth: string;
  /** Of the placement that it moves away from. */
  readonly generation: number;
  /** Of the move, and a number that grows with each of its orders. A host does the newest. */
  readonly id: string;
  readonly step: number;
  readonly task: CopyTask;
}

/** What a host says of an order. It says something at least every second while it works. */
export interface CopyReport {
  readonly berth: string;
  readonly id: string;
  readonly step: number;
  readonly state: "working" | "done" | "failed";
  /** Since the order came. */
  readonly seconds: number;
  /** That came from the other host. */
  readonly fetched: number;
  /** `save`, `save-last`, `export`. */
  readonly archive?: Archive;
  /** `prepare`: those that are missing. */
  readonly images?: readonly ImageVersion[];
  /** `failed`. */
  readonly why?: string;
}

const id = text(/^[0-9a-f]{16}$/, "the id of a move");
const sha256 = text(/^[0-9a-f]{64}$/, "a SHA-256");
const line = text(/^[^\0]{0,2000}$/, "a text");

const archiveName: Reader<string> = (value, at) => {
  if (typeof value === "string" && isArchiveName(value)) return value;
  throw invalid(at, "must be the name of an archive");
};

export const archive: Reader<Archive> = (value, at) => {
  const fields = new Fields(value, at);
  return {
    name: fields.get("name", archiveName),
    sha256: fields.get("sha256", sha256),
    bytes: fields.get("bytes", bytes),
  };
};

const offer: Reader<Offer> = (value, at) => {
  const fields = new Fields(value, at);
  return { ...archive(value, at), host: fields.get("host", hostName), store: fields.get("store", storeAddress) };
};

const imageVersion: Reader<ImageVersion> = (value, at) => {
  const fields = new Fields(value, at);
  return { name: fields.get("name", imageName), version: fields.get("version", imageVersionName) };
};

const task: Reader<CopyTask> = (value, at) => {
  const fields = new Fields(value, at);
  const what = fields.get("do", oneOf("save", "save-last", "export", "prepare", "fetch", "import", "restore"));
  switch (what) {
    case "save":
    case "save-last":
      return { do: what };
    case "export":
      return { do: what, image: fields.get("image", imageVersion) };
    case "prepare":
      return {
        do: what,
        images: fields.get("images", list(imageVersion)),
        root: fields.get("root", jsonObject),
      };
    case "fetch":
      return { do: what, offer: fields.get("offer", offer) };
    case "import":
      return { do: what, offer: fields.get("offer", offer), image: fields.get("image", imageVersion) };
    case "restore":
      return { do: what, offer: fields.get("offer", offer), root: fields.get("root", jsonObject) };
  }
  what satisfies never;
};

export const copyOrder: Reader<CopyOrder> = (value, at) => {
  const fields = new Fields(value, at);
  return {
    berth: fields.get("berth", berthName),
    generation: fields.get("generation", generation),
    id: fields.get("id", id),
    step: fields.get("step", integer(1, 1_000_000)),
    task: fields.get("task", task),
  };
};

export const copyReport: Reader<CopyReport> = (value, at) => {
  const fields = new Fields(value, at);
  const made = fields.or("archive", archive, undefined);
  const images = fields.or("images", list(imageVersion), undefined);
  const why = fields.or("why", line, undefined);
  return {
    berth: fields.get("berth", berthName),
    id: fields.get("id", id),
    step: fields.get("step", integer(1, 1_000_000)),
    state: fields.get("state", oneOf("working", "done", "failed")),
    seconds: fields.get("seconds", integer(0, Number.MAX_SAFE_INTEGER)),
    fetched: fields.get("fetched", bytes),
    ...(made !== undefined && { archive: made }),
    ...(images !== undefined && { images }),
    ...(why !== undefined && { why }),
  };
};
