/** The TypeScript types of parameters and replies are those of the interface texts. */
import { expect, it } from "vitest";
import { parseInterface } from "../../src/varlink/idl.ts";
import { brokerInterface } from "../../src/varlink/interfaces/io.berthd.Broker.ts";
import { successionInterface } from "../../src/varlink/interfaces/io.berthd.Succession.ts";
import { metricsInterface } from "../../src/varlink/interfaces/io.systemd.Metrics.ts";
import { serviceInterface } from "../../src/varlink/interfaces/org.varlink.service.ts";
import { typesOf } from "../support/varlink-types.ts";

const interfaces = [
  ["Broker", "io.berthd.Broker", brokerInterface],
  ["Succession", "io.berthd.Succession", successionInterface],
  ["Metrics", "io.systemd.Metrics", metricsInterface],
  ["Service", "org.varlink.service", serviceInterface],
] as const;

it.each(interfaces)("%sMethods are the methods that the text of %s has", async (prefix, name, text) => {
  await expect(typesOf(parseInterface(text), prefix)).toMatchFileSnapshot(
    `../../src/varlink/interfaces/${name}.types.ts`,
  );
});

it.each(interfaces)(
  "%sMethods differ from a text of %s with one more field, method or member",
  (prefix, _name, text) => {
    const types = typesOf(parseInterface(text), prefix);
    const changes = [
      text.replace(/^method (\w+)\(/m, "method $1(other: int) -> ()\nmethod Other$1("),
      text.replace(/\) -> \(/, ") -> (other: ?bool, "),
      `${text}method Another() -> ()\n`,
    ];
    for (const changed of changes) expect(typesOf(parseInterface(changed), prefix)).not.toBe(types);
  },
);

it("writes each kind of Varlink type as what JSON.parse makes of it", () => {
  const text = `interface a.b
type Colour (red, green)
type Point (x: int, y: ?float, inner: (on: bool))
method Draw(points: []Point, labels: [string]?string, sides: ?[](left, right), raw: object, value: any) -> (colour: Colour)
`;
  const written = typesOf(parseInterface(text), "Draw").replace(/\s+/g, " ");
  expect(written).toContain('export type Colour = "red" | "green";');
  expect(written).toContain(
    "{ readonly x: number; readonly y?: number | null | undefined; readonly inner: { readonly on: boolean; }; }",
  );
  expect(written).toContain("readonly points: readonly Point[];");
  expect(written).toContain("readonly labels: Readonly<Record<string, string | null | undefined>>;");
  expect(written).toContain('readonly sides?: readonly ("left" | "right")[] | null | undefined;');
  expect(written).toContain("readonly raw: Readonly<Record<string, unknown>>; readonly value: unknown;");
  expect(written).toContain("readonly reply: { readonly colour: Colour; };");
});
