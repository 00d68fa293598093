/** A game for Quake III's server that needs no file of the real one: one empty map, and ioquake3's own game code. */
import { symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { TestFolder } from "./broker.ts";

/** Writes the game `empty` with the map `empty` into the folder: `fs_basepath` and `com_basegame`. */
export function writeEmptyGame(folder: TestFolder): void {
  folder.write({ "empty/default.cfg": "\n", "empty/maps/.keep": "" });
  writeFileSync(join(folder.path, "empty/maps/empty.bsp"), emptyMap());
  symlinkSync("/usr/lib/ioquake3/baseq3/qagamex86_64.so", join(folder.path, "empty/qagamex86_64.so"));
}

/**
 * The smallest map that Quake's collision loader accepts (IBSP 46): a shader, two planes, a node, two leafs, a model.
 */
function emptyMap(): Buffer {
  const ints = (...values: number[]): Buffer => Buffer.from(Int32Array.from(values).buffer);
  const floats = (...values: number[]): Buffer => Buffer.from(Float32Array.from(values).buffer);
  const entities = '{\n"classname" "worldspawn"\n}\n{\n"classname" "info_player_deathmatch"\n"origin" "0 0 64"\n}\n\0';
  const shader = Buffer.concat([Buffer.from("textures/common/caulk".padEnd(64, "\0")), ints(0, 1)]);
  const box = [-512, -512, -512, 512, 512, 512];
  const leaf = ints(0, 0, ...box, 0, 0, 0, 0);
  const none = Buffer.alloc(0);
  const lumps = [
    ...[Buffer.from(entities), shader, floats(1, 0, 0, 0, -1, 0, 0, 0), ints(0, -1, -2, ...box)],
    ...[Buffer.concat([leaf, leaf]), none, ints(0), Buffer.concat([floats(...box), ints(0, 0, 0, 0)])],
    ...Array.from({ length: 9 }, () => none),
  ];
  let offset = 8 + lumps.length * 8;
  const header = [Buffer.from("IBSP"), ints(46)];
  const body = lumps.map((lump) => {
    header.push(ints(offset, lump.length));
    const padded = Buffer.concat([lump, Buffer.alloc(-lump.length & 3)]);
    offset += padded.length;
    return padded;
  });
  return Buffer.concat([...header, ...body]);
}
