/** Whom a user counts as: its owner by subuid(5), or the range of a berth. */
import { rmSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { OWNERS_AGE_MS } from "../../../src/broker/access/limits/limits.ts";
import { Owners, type OwnersOptions } from "../../../src/broker/access/owners.ts";
import { TestFolder } from "../../support/broker.ts";
import { openFds } from "../../support/fds.ts";

const PASSWD = `root:x:0:0::/root:/bin/sh
alice:x:1000:1000::/home/alice:/bin/sh
bob:x:1001:1001::/home/bob:/bin/sh
`;

function owners(etc: string, options: Partial<OwnersOptions> = {}): Owners {
  return new Owners({ isPrivileged: (uid) => uid === 0, ranges: () => [], etc, ...options });
}

function folder(subuid: string): TestFolder {
  return new TestFolder({ passwd: PASSWD, subuid });
}

describe("a user counts as", () => {
  it.each([
    ["itself, without an entry", 1000, 1000],
    ["itself, beside an entry", 165_536, 165_536],
    ["its owner, at the first id", 100_000, 1000],
    ["its owner, at the last id", 165_535, 1000],
    ["its owner, by a second entry", 300_000, 1000],
    ["its owner, by number", 400_001, 1001],
    ["the first id of an owner without an account", 500_009, 500_000],
    ["the first id of such an owner, by a second entry", 600_009, 500_000],
    ["the first id of root's, not as root", 700_009, 700_000],
    ["itself, in what berthd has for its ranges", 800_009, 800_009],
    ["itself, where the first id is not all digits", 900_001, 900_001],
    ["itself, where the number of ids is not all digits", 950_001, 950_001],
  ])("%s", (_, uid, account) => {
    using etc = folder(`alice:100000:65536
alice:300000:10
1001:400000:10
nobody-knows:500000:10
nobody-knows:600000:10
root:700000:10
berthd:800000:65536
garbage
bob:x:1
bob:9e5:10
bob:950000:1e1
bob:950000:x9
`);
    expect(owners(etc.path).accountOf(uid, 0)).toBe(account);
  });

  it("the range of the berth that it belongs to", () => {
    using etc = folder("");
    const known = owners(etc.path, { ranges: () => [{ base: 524_288, count: 65_536 }] });
    expect([524_288, 589_823, 589_824].map((uid) => known.accountOf(uid, 0))).toEqual([524_288, 524_288, 589_824]);
  });
});

it("a change is seen within seconds, and files that are gone have no entries", () => {
  using etc = folder("alice:100000:10\n");
  const known = owners(etc.path);
  expect(known.accountOf(100_001, 0)).toBe(1000);
  etc.write({ subuid: "bob:100000:10\n\n" });
  expect(known.accountOf(100_001, OWNERS_AGE_MS - 1)).toBe(1000);
  expect(known.accountOf(100_001, OWNERS_AGE_MS)).toBe(1001);
  for (const name of ["passwd", "subuid"]) rmSync(join(etc.path, name));
  expect(known.accountOf(100_001, 2 * OWNERS_AGE_MS)).toBe(100_001);
});

it("files and ranges are looked at once in a while, and are closed again", () => {
  using etc = folder("alice:100000:10\n");
  let asked = 0;
  const ranges = (): [] => {
    asked++;
    return [];
  };
  const known = owners(etc.path, { ranges });
  const before = openFds();
  for (const now of [0, 1, OWNERS_AGE_MS - 1]) known.accountOf(100_001, now);
  expect(asked).toBe(1);
  known.accountOf(100_001, OWNERS_AGE_MS);
  expect([asked, openFds()]).toEqual([2, before]);
});

it("of a line that the end of what is read cuts off, nothing counts", () => {
  const line = "alice:200000:65536\n";
  const cut = line.indexOf("5536");
  const whole = "alice:100000:10\n";
  using etc = folder(`${whole}${"#".repeat(1024 * 1024 - whole.length - 1 - cut)}\n${line}`);
  const known = owners(etc.path);
  expect([known.accountOf(100_001, 0), known.accountOf(200_001, 0)]).toEqual([1000, 200_001]);
});

it("of a file of 3 MiB only the beginning counts", () => {
  using etc = folder(`alice:100000:10\n${"#\n".repeat(1_500_000)}bob:200000:10\n`);
  const known = owners(etc.path);
  expect([known.accountOf(100_001, 0), known.accountOf(200_001, 0)]).toEqual([1000, 200_001]);
});
