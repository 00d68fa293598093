/** Clients before 1.7 (https://minecraft.wiki/w/Java_Edition_protocol/Server_List_Ping): one byte names the packet. */
import { hasAt, uint16, view } from "../../bytes.ts";
import type { SleepingServer } from "../../protocol.ts";
import { count, utf8 } from "../../text.ts";
import { isName, type Opening } from "./opening.ts";

const PING = 0xfe;
const LOGIN = 0x02;
const KICK = 0xff;
/** In a frame of later clients, no handshake is so short that its length is this byte. */
const LOGIN_LENGTH = 4;
/** A message to a plugin, whose name has 11 units. */
const PING_HOST = Buffer.from("fe01fa000b004d0043007c00500069006e00670048006f00730074", "hex");
const LONGEST_TEXT = 64;

/** Undefined if these are not the bytes of such a client. */
export function readLegacy(bytes: Uint8Array): Opening | undefined {
  if (bytes[0] === PING) return readPing(bytes);
  return bytes[0] === LOGIN ? readLogin(view(bytes)) : undefined;
}

/** FE until 1.3, FE 01 until 1.5, and in 1.6 also a message with the name of the host. */
function readPing(bytes: Uint8Array): Opening | undefined {
  if (bytes.length === 1) return { kind: "legacy-status", isOldest: true };
  if (bytes.length === 2 && bytes[1] === 1) return { kind: "legacy-status", isOldest: false };
  // Later clients have a 0 here: in a handshake of 254 bytes.
  if (bytes[1] !== 1 || bytes[2] !== PING_HOST[2]) return undefined;
  const begun = PING_HOST.subarray(0, bytes.length);
  if (!hasAt(bytes, 0, begun)) return { kind: "other" };
  return begun.length < PING_HOST.length ? { kind: "short" } : { kind: "legacy-status", isOldest: false };
}

/** 02, the version, the name and the host as texts, a port of four bytes. Until 1.2: one text `NAME;HOST:PORT`. */
function readLogin(bytes: Buffer): Opening | undefined {
  if (bytes.length < LOGIN_LENGTH) return { kind: "short" };
  const version = bytes[1] ?? 0;
  const name = readText(bytes, version === 0 ? 1 : 2);
  if (typeof name === "string") return { kind: name === "short" ? "short" : "other" };
  if (version === 0) return { kind: /^[\x21-\x7e]{1,16};[^;]+:\d+$/.test(name.value) ? "legacy-join" : "other" };
  const host = readText(bytes, name.end);
  if (typeof host === "string") return { kind: host === "short" ? "short" : "other" };
  if (bytes.length < host.end + 4) return { kind: "short" };
  return { kind: isName(name.value) ? "legacy-join" : "other" };
}

/** UTF-16 with the number of its units in front. */
function readText(bytes: Buffer, at: number): { value: string; end: number } | "short" | "bad" {
  if (bytes.length < at + 2) return "short";
  const units = bytes.readUInt16BE(at);
  if (units > 300) return "bad";
  const end = at + 2 + units * 2;
  if (bytes.length < end) return "short";
  return {
    value: Buffer.from(bytes.subarray(at + 2, end))
      .swap16()
      .toString("utf16le"),
    end,
  };
}

/** How such a client is told anything: it is disconnected, with a text. */
export function legacyKick(text: string): Buffer {
  const bytes = Buffer.from(text, "utf16le").swap16();
  return Buffer.concat([Buffer.of(KICK), uint16(bytes.length / 2), bytes]);
}

/** Until 1.3 three fields between §, later six between NUL. */
export function legacyStatus(server: SleepingServer, isOldest: boolean): Buffer {
  const { slots, version = "", protocol = 127 } = server;
  // § begins a colour, or a field.
  const name = utf8(server.name, LONGEST_TEXT, isOldest ? "§" : "").toString("utf8");
  const most = String(count(slots, 0x7fffffff));
  if (isOldest) return legacyKick([name, "0", most].join("§"));
  const number = String(count(protocol, 0x7fffffff));
  const shown = utf8(version, LONGEST_TEXT).toString("utf8");
  return legacyKick(["§1", number, shown, name, "0", most].join("\0"));
}
