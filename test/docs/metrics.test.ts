import { expect, it } from "vitest";
import { described, PREFIX } from "../../src/broker/metrics/families.ts";
import { read, section, tableRows } from "./markdown.ts";

const page = read("docs/metrics.md");

it("the tables have every family that Describe has, in its words, and no other", () => {
  const rows = ["## Of each berth", "## Of the broker"].flatMap((heading) => tableRows(section(page, heading)));
  const documented = rows.map(([name = "", type, , , description]) => ({
    name: PREFIX + name.replaceAll("`", ""),
    description,
    type,
  }));
  expect(documented).toEqual(described());
});

it("each number has a unit, and each text has none", () => {
  const rows = ["## Of each berth", "## Of the broker"].flatMap((heading) => tableRows(section(page, heading)));
  expect(rows.filter(([, type, , unit]) => (type === "string") !== (unit === ""))).toEqual([]);
});
