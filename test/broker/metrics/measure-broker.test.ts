import { expect, it } from "vitest";
import { countDescriptors } from "../../../src/broker/metrics/measure-broker.ts";
import { TestFolder } from "../../support/broker.ts";
import { memfd } from "../../support/sockets.ts";

it("counts one more descriptor for each that is opened", async () => {
  const before = (await countDescriptors()) ?? 0;
  const files = Array.from({ length: 50 }, () => memfd());
  expect(((await countDescriptors()) ?? 0) - before).toBeGreaterThan(40);
  for (const file of files) file.close();
});

it("a folder that cannot be read gives no number and no error: the broker has no descriptor left, or no /proc", async () => {
  using folder = new TestFolder({ file: "" });
  expect(await countDescriptors(`${folder.path}/gone`)).toBeUndefined();
});
