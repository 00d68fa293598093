/** Writes the TypeScript types of a Varlink interface: its named types, and the parameters and reply of each method. */
import type { Interface, Struct, Type } from "../../src/varlink/idl.ts";

/** The text of a module. `prefix` begins the name of the type that has all methods: `Broker` for `BrokerMethods`. */
export function typesOf({ name, types, methods }: Interface, prefix: string): string {
  const named = Array.from(types, ([type, member]) =>
    member.type.kind === "struct"
      ? `export interface ${type} ${structOf(member.type, "")}\n`
      : `export type ${type} = ${typeOf(member.type, "")};\n`,
  );
  const members = Array.from(methods, ([method, { input, output }]) => {
    const parts = [`parameters: ${structOf(input, "    ")}`, `reply: ${structOf(output, "    ")}`];
    return `  readonly ${method}: {\n${parts.map((part) => `    readonly ${part};\n`).join("")}  };\n`;
  });
  const head = `/**
 * The types of ${name}, as its text says. test/varlink/types.test.ts fails when the two differ.
 * To write this file again: \`npm test -- test/varlink/types.test.ts -u\`.
 */
`;
  return [head, ...named, `export interface ${prefix}Methods {\n${members.join("")}}\n`]
    .join("\n")
    .replace("\n\n", "\n");
}

function structOf({ fields }: Struct, indent: string): string {
  if (fields.length === 0) return "Readonly<Record<string, never>>";
  const lines = fields.map(({ name, type }) => {
    const optional = type.kind === "nullable" ? "?" : "";
    const line = `${indent}  readonly ${name}${optional}: ${typeOf(type, `${indent}  `)};\n`;
    // As Biome writes a union that is longer than a line.
    return line.length <= 121 ? line : line.replace(/ (?=")/, ` | `).replaceAll(" | ", `\n${indent}    | `);
  });
  return `{\n${lines.join("")}${indent}}`;
}

function typeOf(type: Type, indent: string): string {
  switch (type.kind) {
    case "bool":
      return "boolean";
    case "int":
    case "float":
      return "number";
    case "string":
      return "string";
    case "object":
      return "Readonly<Record<string, unknown>>";
    case "any":
      return "unknown";
    case "nullable":
      return `${typeOf(type.of, indent)} | null | undefined`;
    case "array":
      return type.of.kind === "enum" || type.of.kind === "nullable"
        ? `readonly (${typeOf(type.of, indent)})[]`
        : `readonly ${typeOf(type.of, indent)}[]`;
    case "map":
      return `Readonly<Record<string, ${typeOf(type.of, indent)}>>`;
    case "enum":
      return type.members.map((member) => `"${member}"`).join(" | ");
    case "struct":
      return structOf(type, indent);
    case "named":
      return type.name;
    default:
      return type satisfies never;
  }
}
