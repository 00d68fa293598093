import { expect, test } from "vitest";
import { EXIT_REFUSED, EXIT_SYSTEM, EXIT_USAGE } from "../../src/cli/print/exit.ts";
import { parseInterface } from "../../src/varlink/idl.ts";
import { brokerInterface } from "../../src/varlink/interfaces/io.berthd.Broker.ts";
import { successionInterface } from "../../src/varlink/interfaces/io.berthd.Succession.ts";
import { metricsInterface } from "../../src/varlink/interfaces/io.systemd.Metrics.ts";
import { serviceInterface } from "../../src/varlink/interfaces/org.varlink.service.ts";
import { read, section, tableRows, withoutBlocks } from "./markdown.ts";

const page = read("docs/errors.md");

function headings(text: string): string[] {
  return Array.from(withoutBlocks(text).matchAll(/^### (.*)$/gm), ([, heading = ""]) => heading);
}

test("every code of errors.ts has its section, and no other code has one", () => {
  const union = /export type ErrorCode =([^;]*);/.exec(read("src/errors.ts"))?.[1] ?? "";
  const codes = Array.from(union.matchAll(/"([A-Z_]+)"/g), ([, code]) => code);
  expect(codes.length).toBeGreaterThan(0);
  expect(headings(section(page, "## Codes"))).toEqual(codes);
});

test("every error of the interfaces has its section, and no other has one", () => {
  const errors = [brokerInterface, successionInterface, metricsInterface, serviceInterface]
    .map(parseInterface)
    .flatMap(({ name, errors }) => Array.from(errors.keys(), (error) => `${name}.${error}`));
  expect(errors.length).toBeGreaterThan(0);
  expect(headings(section(page, "## Varlink errors"))).toEqual(errors.sort());
});

test("InterfaceNotFound lists the interfaces that a broker has, and says that there is no other", () => {
  const text = section(page, "### org.varlink.service.InterfaceNotFound");
  const named = Array.from(text.matchAll(/`([a-z]+(?:\.[A-Za-z]+)+)`/g), ([, name]) => name);
  const served = [brokerInterface, successionInterface, metricsInterface, serviceInterface].map(
    (one) => parseInterface(one).name,
  );
  expect(named.sort()).toEqual(served.sort());
});

test("every section of an error says something", () => {
  for (const heading of headings(page)) expect(section(page, `### ${heading}`).trim().length).toBeGreaterThan(40);
});

test("the exit codes are those of the programs", () => {
  const codes = tableRows(section(page, "## Exit codes")).map(([code]) => Number(code));
  expect(codes).toEqual([0, EXIT_REFUSED, EXIT_USAGE, EXIT_SYSTEM]);
  expect(read("native/launch/launch.h")).toContain(
    `kRefused = ${EXIT_REFUSED}, kUsage = ${EXIT_USAGE}, kSystem = ${EXIT_SYSTEM}`,
  );
});
