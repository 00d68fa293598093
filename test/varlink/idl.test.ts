import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { BerthError } from "../../src/errors.ts";
import { type Field, parseInterface, type Type } from "../../src/varlink/idl.ts";
import { brokerInterface } from "../../src/varlink/interfaces/io.berthd.Broker.ts";
import { successionInterface } from "../../src/varlink/interfaces/io.berthd.Succession.ts";
import { serviceInterface } from "../../src/varlink/interfaces/org.varlink.service.ts";

/** The type that `text` is parsed to, as a method's only parameter. */
function typeOf(text: string): Type | undefined {
  const iface = parseInterface(`interface a.b\ntype Other (x: int)\nmethod M(value: ${text}) -> ()`);
  return iface.methods.get("M")?.input.fields[0]?.type;
}

function refusal(text: string): string {
  try {
    parseInterface(text);
  } catch (error) {
    expect(error).toBeInstanceOf(BerthError);
    expect(error).toHaveProperty("code", "PROTOCOL_ERROR");
    return error instanceof Error ? error.message : "";
  }
  return "accepted";
}

const int: Type = { kind: "int" };

describe("types", () => {
  it.each(["bool", "int", "float", "string", "object", "any"] as const)("%s", (kind) => {
    expect(typeOf(kind)).toEqual({ kind });
  });

  it.each<[string, Type]>([
    ["?int", { kind: "nullable", of: int }],
    ["[]int", { kind: "array", of: int }],
    ["[string]int", { kind: "map", of: int }],
    ["?[]int", { kind: "nullable", of: { kind: "array", of: int } }],
    ["[]?int", { kind: "array", of: { kind: "nullable", of: int } }],
    ["[][string][]int", { kind: "array", of: { kind: "map", of: { kind: "array", of: int } } }],
    ["Other", { kind: "named", name: "Other" }],
    ["()", { kind: "struct", fields: [] }],
    ["[string]()", { kind: "map", of: { kind: "struct", fields: [] } }],
    ["(one)", { kind: "enum", members: ["one"] }],
    ["?(no, try, must)", { kind: "nullable", of: { kind: "enum", members: ["no", "try", "must"] } }],
    ["(Upper, a_b, a1)", { kind: "enum", members: ["Upper", "a_b", "a1"] }],
    [
      "[](a: (b: int))",
      {
        kind: "array",
        of: {
          kind: "struct",
          fields: [{ name: "a", docs: "", type: { kind: "struct", fields: [{ name: "b", docs: "", type: int }] } }],
        },
      },
    ],
  ])("%s", (text, type) => {
    expect(typeOf(text)).toEqual(type);
  });

  it("may be named before they are defined, and contain themselves", () => {
    const iface = parseInterface("interface a.b type Tree (left: ?Tree, leaf: Leaf) type Leaf (x, y)");
    expect([...iface.types.keys()]).toEqual(["Tree", "Leaf"]);
    expect(iface.types.get("Leaf")?.type).toEqual({ kind: "enum", members: ["x", "y"] });
  });

  it("may have fields that are called like keywords", () => {
    const text = "(interface: int, type: int, method: int, error: int, string: int, constructor: int)";
    expect(typeOf(text)).toMatchObject({ kind: "struct" });
  });
});

describe("blanks and comments", () => {
  it("blanks of all four kinds and comments may stand between any two tokens", () => {
    const tokens =
      "interface a.b type T ( a : ? [] ( x , y ) , b : [string] T ) method M ( ) -> ( a : int ) error E ( )".split(" ");
    const plain = parseInterface(tokens.join(" "));
    const blank = fc.constantFrom(" ", "\t", "\r\n", "\n", " # a comment ( : ?\n", "#\n");
    fc.assert(
      fc.property(fc.array(blank, { minLength: tokens.length, maxLength: tokens.length }), (blanks) => {
        // A comment needs a line of code before it to be no documentation; so only the shape is compared.
        const parsed = parseInterface(tokens.map((token, at) => token + blanks[at]).join(""));
        expect(stripDocs(parsed)).toEqual(stripDocs(plain));
      }),
    );
  });

  it("may be left out where nothing needs them", () => {
    const iface = parseInterface("interface a.b method M(a:?[]int,b:(x,y))->()error E()type T(a:int)");
    expect([[...iface.methods.keys()], [...iface.errors.keys()], [...iface.types.keys()]]).toEqual([
      ["M"],
      ["E"],
      ["T"],
    ]);
  });

  it("comments directly above are documentation, without their first blank, over several lines", () => {
    const iface = parseInterface(
      "# The interface.\r\ninterface a.b\n\n# First\n#   second\n#\n#third\nmethod M(\n  # The field.\n  a: int\n) -> ()\n",
    );
    expect(iface.docs).toBe("The interface.");
    expect(iface.methods.get("M")?.docs).toBe("First\n  second\n\nthird");
    expect(iface.methods.get("M")?.input.fields[0]?.docs).toBe("The field.");
  });

  it("a comment that is parted by an empty line, or stands behind code, documents nothing", () => {
    const iface = parseInterface(
      "# licence\n\ninterface a.b # behind\n# far\n\nmethod M(a: int, # behind\n b: int) -> ()\n# at the end",
    );
    expect([iface.docs, iface.methods.get("M")?.docs]).toEqual(["", ""]);
    expect(iface.methods.get("M")?.input.fields.map(({ docs }) => docs)).toEqual(["", ""]);
  });
});

describe("names", () => {
  it.each(["a.b", "org.varlink.service", "io.berthd.Broker", "a.b1.c-d", "xn--lgbbat1ad8j.example", "a.1"])(
    "%s is an interface",
    (name) => {
      expect(parseInterface(`interface ${name} method M()->()`).name).toBe(name);
    },
  );

  it.each(["a", "a.", ".a", "1.a", "a..b", "a.-b", "a.b-", "a_b.c", "", "a.b!"])("%j is none", (name) => {
    expect(refusal(`interface ${name} method M()->()`)).toMatch(/line 1 column \d+: expected/);
  });

  it.each(["m", "1M", "M_a", "M.a", "M-a"])("%s is not a member's", (name) => {
    expect(refusal(`interface a.b method ${name}()->()`)).toContain("line 1 column 22: expected a name for the method");
  });

  it.each(["_a", "a_", "a__b", "1a", "a-b", "a.b"])("%s is not a field's", (name) => {
    expect(refusal(`interface a.b type T (${name}: int)`)).toContain("line 1 column 23: expected a name of letters");
  });
});

describe("text that is not Varlink is refused with its line and column", () => {
  it.each([
    ["", 'line 1 column 1: expected "interface", found the end of the text'],
    ["interface a", 'line 1 column 11: expected an interface name like org.example.thing, found "a"'],
    ["interface a.b", 'line 1 column 14: expected "type", "method" or "error", found the end of the text'],
    ["interface a.b\nmethods M()", 'line 2 column 1: expected "type", "method" or "error", found "methods"'],
    ["interface a.b\nmethod M()\nerror E()", 'line 3 column 1: expected "->", found "error"'],
    ["interface a.b\nerror E", 'line 2 column 8: expected "(", found the end of the text'],
    [
      "interface a.b\ntype T (a: int,)",
      'line 2 column 16: expected a name of letters, digits and single underscores, found ")"',
    ],
    ["interface a.b\ntype T (a: int b: int)", 'line 2 column 16: expected "," or ")", found "b"'],
    ["interface a.b\ntype T (a, b: int)", 'line 2 column 13: expected "," or ")", found ":"'],
    ["interface a.b\ntype T (a: int, b)", 'line 2 column 18: expected ":", found ")"'],
    ["interface a.b\ntype T (a: int", 'line 2 column 15: expected "," or ")", found the end of the text'],
    [
      "interface a.b\ntype T (a: ??int)",
      'line 2 column 13: expected a type that is not itself optional after "?", found "?"',
    ],
    ["interface a.b\ntype T (a: integer)", "line 2 column 12: expected a type: bool,"],
    ["interface a.b\ntype T (a: [int]int)", 'found "["'],
    ["interface a.b\ntype T (a: [ ]int)", 'found "["'],
    ["interface a.b\ntype T (a: int, a: int)", 'line 2 column 17: "a" appears twice'],
    ["interface a.b\ntype T (a, a)", 'line 2 column 12: "a" appears twice'],
    ["interface a.b\nmethod M()->()\nerror M()", 'line 3 column 7: "M" is already defined'],
    ["interface a.b\ntype T (a: Missing)", 'line 2 column 12: "Missing" is not a type of this interface'],
    ["interface a.b\ntype T (a: E)\nerror E()", 'line 2 column 12: "E" is not a type of this interface'],
    ["interface a.b\nmethod M(a, b)->()", "line 2 column 9: parameters need a type each"],
    ["interface a.b\nerror E(a, b)", "line 2 column 8: parameters need a type each"],
    [
      "interface a.b\ntype T (a: \u{1F6A2})",
      'line 2 column 12: expected a type: bool, int, float, string, object, any, (…), []…, [string]…, ?… or the name of one, found "\u{1F6A2}"',
    ],
    ["interface a.b\nmethod M()->() \0", 'found "\0"'],
  ])("%j", (text, message) => {
    expect(refusal(text)).toContain(message);
  });

  it.each([
    ["[]", ""],
    ["[string]", ""],
    ["(a: ", ")"],
  ])("%s nested too deep", (open, close) => {
    const nest = (levels: number) => `interface a.b type T (a: ${open.repeat(levels)}int${close.repeat(levels)})`;
    expect(parseInterface(nest(31)).types.size).toBe(1);
    expect(refusal(nest(32))).toContain("types are nested deeper than 32");
    expect(refusal(nest(100_000))).toContain("types are nested deeper than 32");
  });

  it("a ? counts as a level of its own", () => {
    const nest = (pairs: number) => `interface a.b type T (a: ${"?[]".repeat(pairs)}int)`;
    expect(parseInterface(nest(15)).types.size).toBe(1);
    for (const pairs of [16, 100_000]) expect(refusal(nest(pairs))).toContain("types are nested deeper than 32");
  });

  it("whatever the text, it is parsed or refused with a BerthError", () => {
    const words = [
      "interface",
      "a.b",
      "type",
      "T",
      "method",
      "error",
      "(",
      ")",
      ",",
      ":",
      "->",
      "[]",
      "[string]",
      "?",
      "x",
      "int",
      "\n",
      "#",
      " ",
      "é",
    ];
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...words)), (tokens) => {
        const text = `interface a.b type T (x: ${tokens.join(" ")}`;
        expect(refusal(text)).toMatch(/^(accepted|Varlink interface description, line \d+ column \d+: .+)$/s);
      }),
    );
  });
});

describe("org.varlink.service", () => {
  it("has the methods and errors of the standard, with their parameters", () => {
    const iface = parseInterface(serviceInterface);
    expect(iface.name).toBe("org.varlink.service");
    expect(
      [...iface.methods].map(([name, { input, output }]) => [name, names(input.fields), names(output.fields)]),
    ).toEqual([
      ["GetInfo", [], ["vendor", "product", "version", "url", "interfaces"]],
      ["GetInterfaceDescription", ["interface"], ["description"]],
    ]);
    expect([...iface.errors].map(([name, { parameters }]) => [name, ...names(parameters.fields)])).toEqual([
      ["InterfaceNotFound", "interface"],
      ["MethodNotFound", "method"],
      ["MethodNotImplemented", "method"],
      ["InvalidParameter", "parameter"],
      ["PermissionDenied"],
      ["ExpectedMore"],
    ]);
  });
});

/** Names and types only, as docs/protocol.md and clients rely on them: fields may be added, never renamed. */
const contract = `interface io.berthd.Broker
type Descriptor (name: string, kind: (stream, datagram, seqpacket, root, stash), address: ?string, index: ?int)
type Lease (id: string, pid: int, uid: int, unit: ?string, since: ?int)
type Range (base: int, count: int)
type Start (state: (waiting, queued, starting, running, failed), failures: int, reason: ?string, status: ?int, signal: ?string, next: ?int)
type Root (images: []string, state: (persistent, volatile, readonly), strategy: ?(idmap, metacopy, none), newer: ?[]string)
type Problem (file: string, line: int, message: string, remedy: ?string)
type Wait (for: (repair, lock, guard), pid: ?int, message: string)
type Wake (at: int, cause: (datagram, connection), socket: ?string)
type Query (type: string, host: ?string, port: ?int)
type Players (count: int, max: ?int, name: ?string, map: ?string, at: int)
type Sdk (protocol: (agones), grpc: int, http: int, uid: ?int, watchdog: ?int)
type Draining (began: int, deadline: ?int, joins: ?(queue, refuse, serve), note: ?string)
type Berth (name: string, state: (vacant, occupied, handover), descriptors: []Descriptor, range: ?Range, root: ?Root, lease: ?Lease, ready: ?bool, status: ?string, outdated: ?bool, older: ?[]string, start: ?Start, kept: ?int, problems: ?[]Problem, wait: ?Wait, since: ?int, restarts: ?int, wake: ?Wake, query: ?Query, players: ?Players, drain: ?Draining, sdk: ?Sdk)
method List() -> (berths: []Berth)

method GetStateFolder() -> (folder: ?string)
method Acquire(berth: string, replace: ?(no, try, must)) -> (lease: string, descriptors: []Descriptor, range: ?Range)
method Release(lease: string) -> ()
method Stash(lease: string, name: string) -> ()
method Unstash(lease: string, name: string) -> ()
method Ready(lease: string) -> ()
method Launch(berth: string, command: ?[]string, environment: ?[string]string, replace: ?(no, try, must)) -> (lease: string, plan: int, range: ?Range)
method Stop(berth: string) -> (lease: ?Lease, unit: ?string, killed: bool, again: bool)
method Drain(berth: string, within: ?int) -> (drain: ?Draining, lease: ?Lease, unit: ?string)
method CancelDrain(berth: string) -> (drain: ?Draining)
method Intercept(lease: string) -> ()
method Reload() -> (berths: int, problems: []Problem)
method Watch() -> (event: (present, added, changed, removed, acquired, ready, handover, released, repaired, starting, failed, stopping, status, players), berth: Berth)
method Report(berth: string, players: ?int, max: ?int, name: ?string, map: ?string) -> ()
method Speak(berth: string, lease: string, ready: ?bool, status: ?string, players: ?int, max: ?int, end: ?(stop, abort)) -> ()
error NoSuchBerth (berth: string, message: ?string)
error NoSuchLease (lease: string, message: ?string)
error BerthOccupied (berth: string, lease: Lease, message: ?string)
error BerthVacant (berth: string, message: ?string)
error StopFailed (berth: string, lease: ?Lease, message: ?string)
error ServerStopping (berth: string, lease: Lease, message: ?string)
error BerthHasProblems (berth: string, problems: []Problem, message: ?string)
error ConfigurationInvalid (problems: []Problem, message: ?string)
error RootUnavailable (berth: string, message: ?string)
error LimitReached (limit: string, message: ?string)
error UnsuitableDescriptor (name: string, message: ?string)`;

describe("io.berthd.Broker", () => {
  it("says what the contract says", () => {
    expect(stripDocs(parseInterface(brokerInterface))).toEqual(stripDocs(parseInterface(contract)));
  });
});

describe("io.berthd.Succession", () => {
  it("says what the contract says", () => {
    const contract = `interface io.berthd.Succession
method TakeOver() -> (names: []string)
method Confirm() -> ()
error Unavailable (message: ?string)`;
    expect(stripDocs(parseInterface(successionInterface))).toEqual(stripDocs(parseInterface(contract)));
  });
});

describe.each([
  ["org.varlink.service", serviceInterface],
  ["io.berthd.Broker", brokerInterface],
  ["io.berthd.Succession", successionInterface],
])("the text of %s", (_, text) => {
  const iface = parseInterface(text);

  it("documents the interface, every type, method and error", () => {
    const members = [...iface.types, ...iface.methods, ...iface.errors];
    expect(iface.docs).not.toBe("");
    expect(members.filter(([, { docs }]) => docs === "").map(([name]) => name)).toEqual([]);
  });

  it("puts no comment where sd-varlink takes none: each is on a line of its own, before a member or field", () => {
    for (const line of text.split("\n")) expect(line).toMatch(/^(\s*#.*|[^#]*)$/);
    expect(text).not.toMatch(/#[^\n]*\n\s*[,)]/);
    expect(text.endsWith(")\n")).toBe(true);
  });
});

function names(fields: readonly Field[]): string[] {
  return fields.map(({ name }) => name);
}

/** A description as plain data without its comments, to compare two. */
function stripDocs(iface: ReturnType<typeof parseInterface>): unknown {
  const plain = { name: iface.name, types: [...iface.types], methods: [...iface.methods], errors: [...iface.errors] };
  return JSON.parse(JSON.stringify(plain, (key, value: unknown) => (key === "docs" ? undefined : value)));
}
