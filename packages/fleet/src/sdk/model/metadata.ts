/** The labels and annotations that a server sets. As in Agones, each key gets a prefix. Pure. */
import { Refusal } from "../refusal.ts";

const PREFIX = "agones.dev/sdk-";
const MOST = 64;
/** Kubernetes: what a label's value, and the name part of a key, may be. */
const NAME = /^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/;
/** Kubernetes lets all annotations of an object have 256 KiB: these have that together. */
const LONGEST_ANNOTATION = 4096;

export class Metadata {
  readonly labels: Map<string, string> = new Map();
  readonly annotations: Map<string, string> = new Map();

  setLabel(key: string, value: string): void {
    if (value !== "" && !NAME.test(value)) throw new Refusal("INVALID_ARGUMENT", `a label's value is ${RULE}`);
    set(this.labels, key, value);
  }

  setAnnotation(key: string, value: string): void {
    if (value.length > LONGEST_ANNOTATION)
      throw new Refusal("INVALID_ARGUMENT", `an annotation has at most ${LONGEST_ANNOTATION} characters`);
    set(this.annotations, key, value);
  }
}

const RULE = "at most 63 of A-Z a-z 0-9 . _ -, and begins and ends with a letter or digit";

function set(all: Map<string, string>, key: string, value: string): void {
  if (!NAME.test(key)) throw new Refusal("INVALID_ARGUMENT", `a key is ${RULE}`);
  if (!all.has(PREFIX + key) && all.size >= MOST)
    throw new Refusal("RESOURCE_EXHAUSTED", `this server has ${MOST} of them already`);
  all.set(PREFIX + key, value);
}
