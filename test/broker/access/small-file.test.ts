/** Files are read whole, also those that are longer than what is read at once. */
import { expect, it } from "vitest";
import { beginningOf, contentsOf } from "../../../src/broker/access/small-file.ts";
import { TestFolder } from "../../support/broker.ts";
import { leaksNothing } from "../../support/fds.ts";

leaksNothing();

it.each([0, 1, 4095, 4096, 4097, 100_000])("a file of %i bytes", (length) => {
  const text = "0123456789".repeat(10_000).slice(0, length);
  using folder = new TestFolder({ file: text });
  expect(contentsOf(`${folder.path}/file`)).toBe(text);
  expect(beginningOf(`${folder.path}/file`, 32)).toBe(text.slice(0, 32));
});

it("a file that is not there is empty", () => {
  expect([contentsOf("/proc/0/status"), beginningOf("/proc/0/status")]).toEqual(["", ""]);
});
