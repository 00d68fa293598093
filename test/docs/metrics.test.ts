import { expect, it } from "vitest";
import { exposedFamilies } from "../../packages/web/src/prometheus/families.ts";
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

it("the first table of names in Prometheus has those of berth-web, with their labels, and no other", () => {
  const [table = ""] = section(page, "## In Prometheus").split("\nValues with the same labels");
  expect(tableRows(table).map((cells) => cells.map((cell) => cell.replaceAll("`", "")))).toEqual(
    exposedFamilies.map(({ from, name, label, ofBerth }) => [
      from,
      `berthd_${name}`,
      [
        ...(ofBerth ? ["berth"] : []),
        ...(label === undefined ? [] : [label.field === label.name ? label.name : `${label.name} from ${label.field}`]),
      ].join(", "),
    ]),
  );
});

it("each family of the broker has a name in Prometheus, or it is said that it has none", () => {
  const named = section(page, "## In Prometheus");
  const families = described().map(({ name }) => name.replace(PREFIX, ""));
  expect(families.filter((name) => !named.includes(`\n| \`${name}\` | `))).toEqual([]);
});
