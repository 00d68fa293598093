/**
 * Checks of what another berth-web says, by the schemas of openapi.json. Fields that this version does not know are
 * removed: the other one may be newer.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Ajv2020 } from "ajv/dist/2020.js";
import type {
  ApiError,
  BerthDetail,
  BerthRow,
  Host,
  Overview,
  Patch,
  Quiet,
  Series,
  StreamTimeline,
  Timeline,
} from "../api/shapes.ts";
import { packageFolder } from "../package-folder.ts";

/** The answer of a peer is none, for this reason. */
export class NotUnderstood extends Error {}

interface Shapes {
  readonly Overview: Overview;
  readonly Patch: Patch;
  readonly BerthRow: BerthRow;
  readonly Host: Host;
  readonly BerthDetail: BerthDetail;
  readonly Series: Series;
  readonly Timeline: Timeline;
  readonly StreamTimeline: StreamTimeline;
  readonly Quiet: Quiet;
  readonly Error: ApiError;
}

export type ShapeName = keyof Shapes;

const ref = (name: ShapeName) => ({ $ref: `openapi.json#/components/schemas/${name}` });
const key = { host: { type: "string" }, name: { type: "string" } };

/** What the OpenAPI file describes in words only: the events of the stream. */
const EVENTS: Partial<Record<ShapeName, object>> = {
  Patch: {
    type: "object",
    additionalProperties: false,
    required: ["at", "hosts", "berths", "removed"],
    properties: {
      at: { type: "integer" },
      hosts: { type: "array", items: ref("Host") },
      // Each is checked when it has been put into its row.
      berths: { type: "array", items: { type: "object", required: ["host", "name"], properties: key } },
      removed: { type: "array", items: { type: "object", required: ["host", "name"], properties: key } },
    },
  },
  StreamTimeline: {
    type: "object",
    additionalProperties: false,
    required: ["host", "name", "event"],
    properties: { ...key, event: { $ref: "openapi.json#/components/schemas/TimelineEvent" } },
  },
};

const ajv = new Ajv2020({ strict: false, strictNumbers: true, removeAdditional: true });
ajv.addSchema(JSON.parse(readFileSync(join(packageFolder, "openapi.json"), "utf8")), "openapi.json");
const validators = new Map<ShapeName, ReturnType<typeof ajv.compile>>();

/** The value, if it has that shape. Throws {@link NotUnderstood}. */
export function checked<N extends ShapeName>(name: N, value: unknown): Shapes[N] {
  let validate = validators.get(name);
  if (validate === undefined) {
    validate = ajv.compile(EVENTS[name] ?? ref(name));
    validators.set(name, validate);
  }
  if (isShape<Shapes[N]>(validate, value)) return value;
  throw new NotUnderstood(ajv.errorsText(validate.errors, { dataVar: name }));
}

function isShape<T>(validate: (value: unknown) => unknown, value: unknown): value is T {
  return validate(value) === true;
}

/** Characters that neither a page nor a terminal should get: this berth-web has removed them from its own texts. */
const UNSHOWABLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u;

/** Entries of a list. The longest has the berths of a host. */
export const MOST_ENTRIES = 10_000;
/** What a Date takes, in milliseconds: more is no time, and no size or count either. */
const LARGEST = 8.64e15;
/** UTF-16 units of a text. This berth-web cuts its own texts before they are as long. */
const LONGEST = 4096;

/** JSON whose strings can be shown, and whose numbers and lists can be drawn. Throws {@link NotUnderstood}. */
export function parsed(text: string): unknown {
  try {
    return JSON.parse(text, (key, value: unknown) => {
      if (typeof value === "number" && !(Math.abs(value) <= LARGEST)) throw new NotUnderstood(`${key} is too large`);
      if (Array.isArray(value) && value.length > MOST_ENTRIES) throw new NotUnderstood(`${key} has too many entries`);
      if (typeof value !== "string") return value;
      if (value.length > LONGEST) throw new NotUnderstood(`a text is longer than ${LONGEST} characters`);
      // Lines of a configuration are shown as they are, and copied as one.
      const shown = key === "command" ? value.replaceAll("\n", " ") : value;
      if (UNSHOWABLE.test(shown)) throw new NotUnderstood("a text has control characters");
      return value;
    });
  } catch (error) {
    if (error instanceof NotUnderstood) throw error;
    throw new NotUnderstood("it is no JSON");
  }
}
