import { expect, it } from "vitest";
import { decodeRootFacts, encodeRootFacts } from "../../../src/broker/record/root-facts.ts";
import type { RootFacts } from "../../../src/rootfs/roots/root.ts";

const facts: RootFacts = {
  strategy: "idmap",
  images: ["arena@2.1", "/srv/maps"],
  state: "persistent",
  range: { base: 655_360, count: 65_536 },
};

it("the facts of a root are read back as they were written", () => {
  const without: RootFacts = { strategy: "none", images: ["/x"], state: "readonly" };
  for (const one of [facts, without]) expect(decodeRootFacts(encodeRootFacts(one))).toEqual(one);
});

it.each([
  "",
  "null",
  "[]",
  JSON.stringify({ ...facts, strategy: "copy" }),
  JSON.stringify({ ...facts, state: undefined }),
  JSON.stringify({ ...facts, images: "arena" }),
  JSON.stringify({ ...facts, images: [1] }),
  JSON.stringify({ ...facts, range: { base: "0", count: 1 } }),
  JSON.stringify({ ...facts, range: null }),
])("%j is no root's", (text) => {
  expect(decodeRootFacts(Buffer.from(text))).toBeUndefined();
});
