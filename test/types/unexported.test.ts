/** Every type that the public declarations name can be imported: needs `npm run build:ts`. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { packageRoot } from "../../src/native.ts";
import { unexported } from "./unexported.ts";

it("every type that an exported declaration names is exported", () => {
  const read = (file: string): string => readFileSync(join(packageRoot, "dist", file), "utf8");
  expect(unexported("index.d.ts", read)).toEqual([]);
});

it("finds a type that is not exported: imported or of the same file, in options, parents, results and parameters", () => {
  const files: Record<string, string> = {
    "index.d.ts": `
export { type A, B, make } from "./rooms/a.ts";
export type { Known as Alias } from "./known.ts";
`,
    "rooms/a.d.ts": `/** Hidden in a comment. */
import type { Server } from "node:net";
import type { Known } from "../known.ts";
import { type Far, Hidden as Near, Unused } from "./hidden.ts";
interface Parent {
    readonly it: Known; // Unused
}
export interface A extends Parent {
    readonly known?: Known;
    readonly text: "Unused";
    readonly Unused?: Server;
}
export declare class B {
    #private;
    private made: Unused;
    make(far: readonly Far[]): Near;
    /** Unused */
    static of(value: number): B;
}
export declare function make(): A;
export declare function make(near: Near): A;
`,
    "known.d.ts": "export type Known = string | {\n    readonly own: Known;\n};\n",
    "rooms/hidden.d.ts": "export type Far = 1;\nexport type Hidden = 2;\nexport type Unused = 3;\n",
  };
  expect(unexported("index.d.ts", (file) => files[file] ?? "")).toEqual([
    "rooms/a.d.ts: A names Parent",
    "rooms/a.d.ts: B names Far",
    "rooms/a.d.ts: B names Near",
    "rooms/a.d.ts: make names Near",
  ]);
});
