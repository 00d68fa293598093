import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Interface, parseInterface } from "../../src/varlink/idl.ts";
import { brokerInterface } from "../../src/varlink/interfaces/io.berthd.Broker.ts";
import { serviceInterface } from "../../src/varlink/interfaces/org.varlink.service.ts";
import {
  compileError,
  compileParameters,
  compileReply,
  explainParameters,
  type Validator,
} from "../../src/varlink/validate.ts";

/** An interface with a method M that takes one parameter `v` of this type. */
function interfaceOf(type: string): Interface {
  return parseInterface(`interface a.b
    type Point (x: int, y: int, note: ?string)
    type Tree (value: int, children: ?[]Tree)
    method M(v: ${type}) -> ()`);
}

function validatorOf(type: string): Validator {
  return compileParameters(interfaceOf(type), "M");
}

const broker = parseInterface(brokerInterface);

describe("a value fits its type or is refused", () => {
  it.each<[string, unknown[], unknown[]]>([
    ["bool", [true, false], [0, "true", {}]],
    [
      "int",
      [0, -1, Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER],
      [0.5, 2 ** 53, -(2 ** 53), 1e300, "1", true, 1n],
    ],
    ["float", [0, 0.5, -1e300], ["1", Number.NaN, Number.POSITIVE_INFINITY]],
    ["string", ["", "a", "\0"], [1, ["a"], new String("a")]],
    ["object", [{}, { a: [null] }], [[], "a", 1]],
    ["any", [0, "", false, [], {}], []],
    ["(a, b)", ["a", "b"], ["c", "", "A", 0, ["a"], "constructor", "__proto__"]],
    ["()", [{}], [[], "a", { a: 1 }]],
  ])("%s", (type, good, bad) => {
    const validate = validatorOf(type);
    for (const v of good) expect(validate({ v }), JSON.stringify(v)).toBeUndefined();
    for (const v of bad) expect(validate({ v }), String(v)).toMatch(/^v/);
    expect([validate({ v: null }), validate({}), validate(undefined), validate(null)]).toEqual(["v", "v", "v", "v"]);
  });

  it.each(["bool", "any", "[]int", "[string]int", "(a, b)", "(a: int)", "Point"])(
    "?%s may be null or missing",
    (type) => {
      const validate = validatorOf(`?${type}`);
      for (const parameters of [{}, { v: null }, null, undefined]) expect(validate(parameters)).toBeUndefined();
    },
  );
});

describe("the path of what is wrong", () => {
  it.each<[string, unknown, string | undefined]>([
    ["[]int", { v: [1, 2, "3"] }, "v.2"],
    ["[]int", { v: { 0: 1 } }, "v"],
    ["[]int", { v: [null] }, "v.0"],
    ["[]?int", { v: [null, 1] }, undefined],
    ["[string]string", { v: { A: "a", B: 1 } }, "v.B"],
    ["[string]string", { v: ["a"] }, "v"],
    ["[string]()", { v: { A: {}, B: {} } }, undefined],
    ["[string][]int", { v: { A: [1, null] } }, "v.A.1"],
    ["Point", { v: { x: 1 } }, "v.y"],
    ["Point", { v: { x: 1, y: 2, note: null } }, undefined],
    ["Point", { v: { x: 1, y: 2, z: 3 } }, "v.z"],
    [
      "[]Point",
      {
        v: [
          { x: 1, y: 2 },
          { x: 1, y: 0.5 },
        ],
      },
      "v.1.y",
    ],
    ["Tree", { v: { value: 1, children: [{ value: 2, children: [] }] } }, undefined],
    [
      "Tree",
      { v: { value: 1, children: [{ value: 2, children: [{ value: "3" }] }] } },
      "v.children.0.children.0.value",
    ],
    ["(a: (b: (c: int)))", { v: { a: { b: { c: true } } } }, "v.a.b.c"],
    ["int", { v: 1, w: 2 }, "w"],
    ["int", { w: 2 }, "v"],
    ["int", [], "parameters"],
    ["int", "v", "parameters"],
    ["int", false, "parameters"],
  ])("%s given %j is %s", (type, parameters, path) => {
    expect(validatorOf(type)(parameters)).toBe(path);
  });

  it("every value of a random JSON document that is not a point's is refused, and nothing throws", () => {
    const validate = validatorOf("?[string][]Point");
    fc.assert(
      fc.property(fc.jsonValue(), (v) => {
        const path = validate({ v });
        const fits =
          v === null ||
          (typeof v === "object" &&
            !Array.isArray(v) &&
            Object.values(v).every((list) => Array.isArray(list) && list.length === 0));
        expect(path === undefined).toBe(fits);
      }),
    );
  });
});

describe("the sentence about what is wrong", () => {
  it.each([
    ["bool", "v", "v must be true or false"],
    ["int", "v", "v must be a whole number"],
    ["float", "v", "v must be a number"],
    ["string", "v", "v must be a string"],
    ["?string", "v", "v must be a string"],
    ["[]int", "v", "v must be an array"],
    ["[]int", "v.2", "v.2 must be a whole number"],
    ["(a, b)", "v", "v must be one of a, b"],
    ["any", "v", "v must be given"],
    ["object", "v", "v must be an object"],
    ["[string]int", "v", "v must be an object"],
    ["[string]int", "v.KEY", "v.KEY must be a whole number"],
    ["Point", "v", "v must be an object"],
    ["Point", "v.note", "v.note must be a string"],
    ["?Point", "v.x", "v.x must be a whole number"],
    ["(a: int)", "v", "v must be an object"],
    ["Tree", "v.children.0.value", "v.children.0.value must be a whole number"],
    ["Point", "v.z", "there is no parameter v.z"],
    ["int", "v.x", "there is no parameter v.x"],
    ["int", "v.x.y", "there is no parameter v.x.y"],
    ["int", "w", "there is no parameter w"],
  ])("%s, %s: %s", (type, path, sentence) => {
    expect(explainParameters(interfaceOf(type), "M", path)).toBe(sentence);
  });

  it("shows no more than the beginning of a long name", () => {
    expect(explainParameters(interfaceOf("int"), "M", "w".repeat(1000))).toBe(
      `there is no parameter ${"w".repeat(80)}`,
    );
  });

  it("cannot be about a type that the interface does not have", () => {
    const point = { ...interfaceOf("Point"), types: new Map() };
    const absent = 'interface a.b has no type "Point"';
    expect(() => explainParameters(point, "M", "v")).toThrow(absent);
    expect(() => explainParameters(point, "M", "v.x")).toThrow(absent);
    expect(() => compileParameters(point, "M")).toThrow(absent);
  });

  it("cannot be about a method that the interface does not have", () => {
    expect(() => explainParameters(interfaceOf("int"), "N", "v")).toThrow('interface a.b has no method "N"');
  });
});

describe("names of Object.prototype are fields like any other", () => {
  it.each(["__proto__", "constructor", "toString", "hasOwnProperty", "valueOf"])(
    "%s is refused when unknown",
    (key) => {
      const validate = validatorOf("?int");
      expect(validate(JSON.parse(`{"${key}":{"v":"x"}}`))).toBe(key);
      expect(validatorOf("Point")(JSON.parse(`{"v":{"x":1,"y":2,"${key}":{}}}`))).toBe(`v.${key}`);
    },
  );

  it("what __proto__ holds does not stand in for a missing field", () => {
    expect(validatorOf("int")(JSON.parse('{"__proto__":{"v":1}}'))).toBe("v");
    expect(validatorOf("int")(Object.create({ v: 1 }))).toBe("v");
  });

  it("a declared one must be given by the sender, not by the prototype", () => {
    const validate = validatorOf("(constructor: any, toString: ?any)");
    expect(validate({ v: {} })).toBe("v.constructor");
    expect(validate(JSON.parse('{"v":{"constructor":1}}'))).toBeUndefined();
  });

  it("they are keys of a map like any other", () => {
    expect(validatorOf("[string]int")(JSON.parse('{"v":{"__proto__":1,"constructor":2}}'))).toBeUndefined();
    expect(validatorOf("[string]int")(JSON.parse('{"v":{"__proto__":"x"}}'))).toBe("v.__proto__");
    expect(validatorOf("[string]int")({ v: Object.create({ inherited: "x" }) })).toBeUndefined();
  });
});

describe("io.berthd.Broker", () => {
  it.each<[string, unknown, string | undefined]>([
    ["List", undefined, undefined],
    ["List", { all: true }, "all"],
    ["Acquire", undefined, "berth"],
    ["Acquire", { berth: "arena@bob" }, undefined],
    ["Acquire", { berth: "arena@bob", replace: null }, undefined],
    ["Acquire", { berth: "arena@bob", replace: "try" }, undefined],
    ["Acquire", { berth: "arena@bob", replace: "yes" }, "replace"],
    ["Acquire", { berth: "arena@bob", force: true }, "force"],
    ["Launch", { berth: "a", command: ["/bin/x", "-v"], environment: { HOME: "/" }, replace: "no" }, undefined],
    ["Launch", { berth: "a", command: ["/bin/x", 1] }, "command.1"],
    ["Launch", { berth: "a", environment: { PORT: 77 } }, "environment.PORT"],
  ])("%s(%j): %s", (method, parameters, path) => {
    expect(compileParameters(broker, method)(parameters)).toBe(path);
  });

  const berth = {
    name: "arena@bob",
    state: "occupied",
    descriptors: [{ name: "game", kind: "datagram", address: "[::]:27960" }],
    lease: { id: "a1", pid: 7, uid: 65534 },
    ready: true,
  };

  it("holds replies against their text", () => {
    expect(compileReply(broker, "Watch")({ event: "acquired", berth })).toBeUndefined();
    expect(compileReply(broker, "Watch")({ event: "acquired", berth: { ...berth, lease: { id: "a1", pid: 7 } } })).toBe(
      "berth.lease.uid",
    );
    expect(compileReply(broker, "Release")({})).toBeUndefined();
    expect(compileReply(broker, "Release")(undefined)).toBeUndefined();
  });

  it("holds errors against their text", () => {
    const occupied = compileError(broker, "BerthOccupied");
    expect(occupied({ berth: "a", lease: berth.lease, message: "somebody is in it" })).toBeUndefined();
    expect(occupied({ berth: "a" })).toBe("lease");
    const denied = compileError(parseInterface(serviceInterface), "PermissionDenied");
    expect([denied({}), denied(undefined), denied({ why: "" })]).toEqual([undefined, undefined, "why"]);
  });

  it("a field that a newer broker added is ignored at any depth, but only on request", () => {
    const newer = { event: "ready", berth: { ...berth, lease: { ...berth.lease, load: 1 }, load: 2 }, more: {} };
    expect(compileReply(broker, "Watch", "ignore")(newer)).toBeUndefined();
    expect(compileReply(broker, "Watch")(newer)).toBe("berth.lease.load");
    expect(compileReply(broker, "Watch", "ignore")({ ...newer, berth: null })).toBe("berth");
    expect(compileError(broker, "NoSuchBerth", "ignore")({ berth: "a", hint: "b" })).toBeUndefined();
  });

  it("says which method or error an interface does not have", () => {
    expect(() => compileParameters(broker, "Aquire")).toThrow('interface io.berthd.Broker has no method "Aquire"');
    expect(() => compileReply(broker, "constructor")).toThrow('no method "constructor"');
    expect(() => compileError(broker, "Acquire")).toThrow(
      expect.objectContaining({ code: "PROTOCOL_ERROR", message: 'interface io.berthd.Broker has no error "Acquire"' }),
    );
  });
});
