/**
 * What the files of a source tree import, and which of these imports go the wrong way. Works on texts: reads no file.
 */
import { posix } from "node:path";

/** Files by their path beneath the tree's root, with their text. */
export type Sources = ReadonlyMap<string, string>;

/** Modules a file names, types included: the types of a layer are part of it. */
export function imports(text: string): string[] {
  const found = text.matchAll(/^(?:import|export)\b[^;]*?\bfrom "([^"]+)"|\bimport\("([^"]+)"\)|^import "([^"]+)"/gm);
  return [...found].map(([, from, dynamic, bare]) => from ?? dynamic ?? bare ?? "");
}

/** Those of the same tree, as paths beneath its root. */
export function localImports(sources: Sources, file: string): string[] {
  return imports(sources.get(file) ?? "")
    .filter((name) => name.startsWith("."))
    .map((name) => posix.join(posix.dirname(file), name));
}

/** `broker` for broker/berths/berth/lease.ts, `wire` for wire.ts and wire/inbox.ts. */
export function layerOf(file: string): string {
  return file.split("/")[0]?.replace(/\.ts$/, "") ?? "";
}

/** Imports between the rooms of a folder that go up or sideways. A file without a room is in the room ".". */
export function upward(sources: Sources, floors: Readonly<Record<string, readonly (readonly string[])[]>>): string[] {
  const wrong: string[] = [];
  for (const [folder, rooms] of Object.entries(floors)) {
    const floorOf = (room: string): number => rooms.findIndex((floor) => floor.includes(room));
    for (const file of sources.keys()) {
      const room = roomOf(file, folder);
      for (const target of localImports(sources, file)) {
        const other = roomOf(target, folder);
        if (room === undefined || other === undefined || other === room) continue;
        if (floorOf(other) >= floorOf(room)) wrong.push(`${file} -> ${target}`);
      }
    }
  }
  return wrong;
}

/** The room of a file in a folder; undefined if the file is not in that folder. */
export function roomOf(file: string, folder: string): string | undefined {
  if (!file.startsWith(`${folder}/`)) return undefined;
  const [room = "", inside] = file.slice(folder.length + 1).split("/");
  return inside === undefined ? "." : room;
}

/** Each circle of imports, types included, as `a.ts -> b.ts -> a.ts`. */
export function circles(sources: Sources): string[] {
  const state = new Map<string, "open" | "done">();
  const found: string[] = [];
  const visit = (file: string, path: readonly string[]): void => {
    if (state.get(file) === "done") return;
    if (state.get(file) === "open") {
      found.push([...path.slice(path.indexOf(file)), file].join(" -> "));
      return;
    }
    state.set(file, "open");
    for (const target of localImports(sources, file)) visit(target, [...path, file]);
    state.set(file, "done");
  };
  for (const file of sources.keys()) visit(file, []);
  return found;
}

/** The lines of comments above 120 columns, as FILE:LINE. */
export function wideComments(sources: Sources): string[] {
  return [...sources].flatMap(([file, text]) =>
    text
      .split("\n")
      .flatMap((line, at) => (/^\s*(\/\/|\/?\*)/.test(line) && line.length > 120 ? [`${file}:${at + 1}`] : [])),
  );
}
