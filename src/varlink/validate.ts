/**
 * Compiles an interface description into validators of decoded JSON values. A valid value costs no allocation. A
 * validator says where a value is wrong; the caller decides what to do.
 */
import { BerthError } from "../errors.ts";
import type { Interface, Struct, Type } from "./idl.ts";
import { isObject } from "./json.ts";

/**
 * Returns undefined if the parameters are valid, else the dotted path of the first wrong one, like `command.2`;
 * "parameters" if they are not an object. Absent or null parameters count as `{}`.
 */
export type Validator = (parameters: unknown) => string | undefined;

/**
 * What to do with a field that the interface does not have. A broker refuses it: it must not silently ignore an option.
 * A client ignores it: a newer broker's replies may have more fields.
 */
export type UnknownFields = "refuse" | "ignore";

/** Validates the input of a method, by its bare name. @throws BerthError if the interface does not have it. */
export function compileParameters(iface: Interface, method: string): Validator {
  return compile(iface, found(iface, "method", method, iface.methods).input, "refuse");
}

/** Validates the reply of a method. @throws BerthError if the interface does not have the method. */
export function compileReply(iface: Interface, method: string, unknownFields: UnknownFields = "refuse"): Validator {
  return compile(iface, found(iface, "method", method, iface.methods).output, unknownFields);
}

/**
 * Validates the parameters of an error, given by its bare name. @throws BerthError if the interface does not have it.
 */
export function compileError(iface: Interface, error: string, unknownFields: UnknownFields = "refuse"): Validator {
  return compile(iface, found(iface, "error", error, iface.errors).parameters, unknownFields);
}

/**
 * Describes, as a sentence, the type at a path that the validator of `method` refused. Only for messages. @throws
 * BerthError if the interface does not have the method.
 */
export function explainParameters(iface: Interface, method: string, path: string): string {
  let type: Type | undefined = found(iface, "method", method, iface.methods).input;
  for (const part of path.split(".")) type = type && inside(iface, type, part);
  const shown = path.slice(0, MAX_SHOWN);
  return type === undefined ? `there is no parameter ${shown}` : `${shown} must be ${wordsOf(iface, type)}`;
}

/** A path for a message: the caller chooses its length, so it is cut. */
const MAX_SHOWN = 80;

/** The type of a field or element; undefined if there is none. */
function inside(iface: Interface, type: Type, part: string): Type | undefined {
  switch (type.kind) {
    case "nullable":
      return inside(iface, type.of, part);
    case "array":
    case "map":
      return type.of;
    case "named":
      return inside(iface, found(iface, "type", type.name, iface.types).type, part);
    case "struct":
      return type.fields.find(({ name }) => name === part)?.type;
  }
  return undefined;
}

function wordsOf(iface: Interface, type: Type): string {
  switch (type.kind) {
    case "bool":
      return "true or false";
    case "int":
      return "a whole number";
    case "float":
      return "a number";
    case "string":
      return "a string";
    case "array":
      return "an array";
    case "enum":
      return `one of ${type.members.join(", ")}`;
    case "nullable":
      return wordsOf(iface, type.of);
    case "named":
      return wordsOf(iface, found(iface, "type", type.name, iface.types).type);
    case "any":
      return "given";
    case "object":
    case "map":
    case "struct":
      return "an object";
    default:
      return type satisfies never;
  }
}

function found<Member>(iface: Interface, what: string, name: string, members: ReadonlyMap<string, Member>): Member {
  const member = members.get(name);
  if (member === undefined) throw new BerthError("PROTOCOL_ERROR", `interface ${iface.name} has no ${what} "${name}"`);
  return member;
}

const none: Readonly<Record<string, unknown>> = Object.freeze({});

function compile(iface: Interface, struct: Struct, unknownFields: UnknownFields): Validator {
  const check = compileStruct({ iface, unknownFields, named: new Map() }, struct);
  return (parameters) => {
    const path = check(parameters ?? none);
    return path === "" ? "parameters" : path;
  };
}

/** As {@link Validator}, with "" for the value itself. An absent value is undefined. */
type Check = (value: unknown) => string | undefined;

interface Context {
  readonly iface: Interface;
  readonly unknownFields: UnknownFields;
  /** Checks of named types. They are registered before they are compiled, so that a type may contain itself. */
  readonly named: Map<string, Check>;
}

function compileType(context: Context, type: Type): Check {
  switch (type.kind) {
    case "bool":
      return (value) => (typeof value === "boolean" ? undefined : "");
    case "int":
      // Above 2⁵³ JSON.parse has already rounded the number.
      return (value) => (Number.isSafeInteger(value) ? undefined : "");
    case "float":
      return (value) => (Number.isFinite(value) ? undefined : "");
    case "string":
      return (value) => (typeof value === "string" ? undefined : "");
    case "object":
      return (value) => (isObject(value) ? undefined : "");
    case "any":
      return (value) => (value === undefined || value === null ? "" : undefined);
    case "nullable": {
      const check = compileType(context, type.of);
      return (value) => (value === undefined || value === null ? undefined : check(value));
    }
    case "array":
      return compileArray(compileType(context, type.of));
    case "map":
      return compileMap(compileType(context, type.of));
    case "enum": {
      const members: ReadonlySet<unknown> = new Set(type.members);
      return (value) => (members.has(value) ? undefined : "");
    }
    case "struct":
      return compileStruct(context, type);
    case "named":
      return compileNamed(context, type.name);
    default:
      return type satisfies never;
  }
}

function compileArray(check: Check): Check {
  return (value) => {
    if (!Array.isArray(value)) return "";
    for (let index = 0; index < value.length; index++) {
      const path = check(value[index]);
      if (path !== undefined) return join(String(index), path);
    }
    return undefined;
  };
}

function compileMap(check: Check): Check {
  return (value) => {
    if (!isObject(value)) return "";
    for (const key in value) {
      if (!Object.hasOwn(value, key)) continue;
      const path = check(value[key]);
      if (path !== undefined) return join(key, path);
    }
    return undefined;
  };
}

function compileStruct(context: Context, struct: Struct): Check {
  const fields = struct.fields.map(({ name, type }) => ({ name, check: compileType(context, type) }));
  const names: ReadonlySet<string> = new Set(struct.fields.map(({ name }) => name));
  const refuseUnknown = context.unknownFields === "refuse";
  return (value) => {
    if (!isObject(value)) return "";
    for (const { name, check } of fields) {
      // Only own properties are fields: a field may be called `constructor`, and JSON.parse makes own `__proto__` keys.
      const path = check(Object.hasOwn(value, name) ? value[name] : undefined);
      if (path !== undefined) return join(name, path);
    }
    if (refuseUnknown) {
      for (const key in value) if (!names.has(key) && Object.hasOwn(value, key)) return key;
    }
    return undefined;
  };
}

function compileNamed(context: Context, name: string): Check {
  const known = context.named.get(name);
  if (known !== undefined) return known;
  const { type } = found(context.iface, "type", name, context.iface.types);
  const self: Check = (value) => check(value);
  context.named.set(name, self);
  const check = compileType(context, type);
  return self;
}

function join(name: string, path: string): string {
  return path === "" ? name : `${name}.${path}`;
}
