/** Names, and the texts that describe hosts. None has a slash, so each is one part of a key. */
import { type Reader, text } from "./fields.ts";

export const hostName: Reader<string> = text(
  /^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$/,
  "a host's name (letters, digits, _ . -, at most 63)",
);

/** With room for `-NUMBER`, which makes a berth's name of it. */
export const setName: Reader<string> = text(
  /^[A-Za-z0-9][A-Za-z0-9_.-]{0,50}$/,
  "a name (letters, digits, _ . -, at most 51)",
);

export const berthName: Reader<string> = text(
  /^[A-Za-z0-9][A-Za-z0-9_.-]{0,56}$/,
  "a berth's name (letters, digits, _ . -, at most 57)",
);

export const socketName: Reader<string> = text(/^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$/, "a socket's name");

export const labelName: Reader<string> = text(
  /^[A-Za-z0-9][A-Za-z0-9_./-]{0,62}$/,
  "a label's name (letters, digits, _ . / -, at most 63)",
);

export const labelValue: Reader<string> = text(/^[A-Za-z0-9_.:-]{0,63}$/, "a label's value (letters, digits, _ . : -)");

export const taintName: Reader<string> = labelName;

export const digest: Reader<string> = text(/^[a-z0-9]+:[0-9a-f]{8,128}$/, "a digest, as sha256:0123…");

export const imageName: Reader<string> = text(/^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$/, "an image's name");

export const imageVersionName: Reader<string> = text(/^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$/, "a version of an image");

/** The broker's id of a lease: a server that is started again has another one. */
export const serverId: Reader<string> = text(/^[\x21-\x7e]{1,128}$/, "the id of a lease");

/** Whether a set can have a berth of this name: as {@link berthOf} makes it. */
export function isBerthOfSet(berth: string): boolean {
  return /^[A-Za-z0-9][A-Za-z0-9_.-]{0,50}-[1-9]\d{0,4}$/.test(berth);
}

/** The berth with this number, from 1 on, of a set. */
export function berthOf(set: string, number: number): string {
  return `${set}-${number}`;
}
