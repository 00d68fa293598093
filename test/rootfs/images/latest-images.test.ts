import { expect, it } from "vitest";
import { LatestImages } from "../../../src/rootfs/images/latest-images.ts";

it("a reference is looked up once a second at most, and a change is seen after that", () => {
  let now = 0;
  let version = "1";
  let looks = 0;
  const resolve = (name: string) => {
    looks++;
    return { name, version, tree: `/images/${name}/${version}` };
  };
  const latest = new LatestImages({ resolve }, () => now);
  expect(latest.labels(["base", "arena"])).toEqual(["base@1", "arena@1"]);
  version = "2";
  now = 999;
  expect(latest.labels(["arena"])).toEqual(["arena@1"]);
  expect(looks).toBe(2);
  now = 1000;
  expect(latest.labels(["arena"])).toEqual(["arena@2"]);
  expect(looks).toBe(3);
});

it("images of which one is missing have no labels; a path is its own", () => {
  const latest = new LatestImages({
    resolve: (name) => (name === "gone" ? { problem: "there is none", remedy: "import it" } : { name, tree: name }),
  });
  expect(latest.labels(["/srv/a", "gone"])).toBeUndefined();
  expect(latest.labels(["/srv/a"])).toEqual(["/srv/a"]);
});
