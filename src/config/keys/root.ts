/** The `[root]` section: the images, whether what a tenant writes is kept, and the ids of its files. Pure. */
import { isRangeBase, MAX_RANGE_BASE } from "../../accounts.ts";
import { flag, integer, matching, type Reader, refuse, size, word } from "../toml/reader.ts";
import { type Context, type Key, openSection, present } from "../toml/section.ts";
import { scalarOf, type Value } from "../toml/tree.ts";
import { readBinds } from "./binds.ts";
import type { BindSpec, RootSpec, RootState, Shift } from "./spec.ts";

/** overlayfs takes 500 layers; this is the longest list that an operator can still read. */
const MAX_IMAGES = 64;
/** The root, its work folders, and a few files. */
const MIN_INODES = 16;

const part = "[A-Za-z0-9][A-Za-z0-9_.-]{0,63}";
const image: Reader<string> = matching(
  new RegExp(`^(?:/.*|${part}(?:@${part})?)$`, "s"),
  "an image",
  'write its name, as "arena" or "arena@VERSION", or the absolute path of a folder',
);

/** One image, or several; each lies over the ones before it. */
const images: Reader<readonly string[]> = (value, reading) => {
  const items = value.kind === "list" ? value.items : [value];
  const expected = `one to ${MAX_IMAGES} images`;
  if (items.length === 0 || items.length > MAX_IMAGES)
    return refuse(value, reading, expected, 'write image = "NAME", or ["BELOW", "ABOVE"] for several');
  return items.map((item) => image(item, reading)).filter((item) => item !== undefined);
};

const shift: Reader<Shift> = word<Shift>("auto", "idmap", "metacopy", "none");
const state: Reader<RootState> = word<RootState>("persistent", "volatile");

/** The first id of a range. */
const base: Reader<number> = (value, reading) => {
  const number = scalarOf(value);
  if (typeof number === "number" && isRangeBase(number)) return number;
  return refuse(
    value,
    reading,
    `a multiple of 0x10000 from 0x10000 to 0x${MAX_RANGE_BASE.toString(16)}`,
    "write range = 0xA0000, or remove it and the broker reserves one",
  );
};

const noBinds: readonly BindSpec[] = [];
const persistent: RootState = "persistent";
const auto: Shift = "auto";

const keys = {
  image: { name: "image", type: "image or array of images", read: images },
  state: {
    name: "state",
    type: '"persistent" or "volatile"',
    read: state,
    fallback: persistent,
    default: '"persistent"',
  },
  size: { name: "size", type: "size", read: size(2 ** 53 - 1), unit: "bytes", default: "half of the memory" },
  inodes: {
    name: "inodes",
    type: "integer",
    read: integer(MIN_INODES, 2 ** 31 - 1),
    default: "one for each 4 KiB of `size`",
  },
  shift: {
    name: "shift",
    type: '"auto", "idmap", "metacopy" or "none"',
    read: shift,
    fallback: auto,
    default: '"auto"',
  },
  nosuid: { name: "nosuid", type: "boolean", read: flag, fallback: true, default: "true" },
  nodev: { name: "nodev", type: "boolean", read: flag, fallback: true, default: "true" },
  readOnly: { name: "read-only", type: "boolean", read: flag, fallback: false, default: "false" },
  range: { name: "range", type: "integer", read: base, default: "one that is reserved for the berth" },
  ready: { name: "ready", type: "boolean", read: flag, fallback: true, default: "true" },
  binds: { name: "binds", type: "table of paths", read: readBinds, fallback: noBinds, default: "{}" },
};

/** The keys of `[root]`. */
export const rootKeys: readonly Key<unknown>[] = Object.values(keys);

/** Reads the `[root]` table. A key that would have no effect is reported: its author expected one. */
export function readRoot(value: Value, context: Context): RootSpec {
  const section = openSection("root", value, keys, context);
  const written = (key: Key<unknown>): Value | undefined => section.table.entries.get(key.name);
  if (written(keys.image) === undefined) context.report(value.origin, "[root] has no image", 'add image = "NAME"');
  const spec: RootSpec = {
    images: section.optional(keys.image) ?? [],
    state: section.value(keys.state),
    shift: section.value(keys.shift),
    nosuid: section.value(keys.nosuid),
    nodev: section.value(keys.nodev),
    readOnly: section.value(keys.readOnly),
    ready: section.value(keys.ready),
    binds: section.value(keys.binds),
    ...present({
      size: section.optional(keys.size),
      inodes: section.optional(keys.inodes),
      range: section.optional(keys.range),
    }),
  };
  const noEffect = (key: Key<unknown>, why: string, remedy: string): void => {
    const entry = written(key);
    if (entry !== undefined) context.report(entry.origin, `root.${key.name} has no effect: ${why}`, remedy);
  };
  if (spec.readOnly) {
    const remedy = "remove it, or read-only";
    noEffect(keys.state, "nothing is ever written to a read-only root", remedy);
    for (const key of [keys.size, keys.inodes]) noEffect(key, "nothing is ever written to a read-only root", remedy);
  } else if (spec.state === "persistent") {
    for (const key of [keys.size, keys.inodes])
      noEffect(key, "a persistent root is as large as its disk", 'remove it, or write state = "volatile"');
  }
  if (spec.shift === "none") noEffect(keys.range, 'with shift = "none" the berth has no range', "remove it, or shift");
  return spec;
}
