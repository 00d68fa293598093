/**
 * Asks a server of Quake III and its kin how many play: getstatus has a line for each client, and getinfo of ioquake3
 * says how many clients are human (code/server/sv_main.c). Some slots may be private: getinfo does not count them.
 */
import { CONNECTIONLESS, hasAt, view } from "../bytes.ts";
import { DatagramInquiry, readCount } from "../inquiry.ts";

const STATUS = "statusResponse\n";
const INFO = "infoResponse\n";

export class Quake3Inquiry extends DatagramInquiry {
  readonly #challenge: string;

  constructor(nonce: number) {
    const challenge = (nonce >>> 0).toString(16);
    super(asked("getstatus", challenge));
    this.#challenge = challenge;
  }

  protected override read(packet: Uint8Array): void {
    if (!hasAt(packet, 0, CONNECTIONLESS)) return;
    const text = view(packet).toString("latin1", CONNECTIONLESS.length);
    if (text.startsWith(STATUS) && this.players === undefined) this.#readStatus(text.slice(STATUS.length));
    else if (text.startsWith(INFO) && this.players !== undefined) this.#readInfo(text.slice(INFO.length), this.players);
  }

  #readStatus(text: string): void {
    const [keys = "", ...lines] = text.split("\n");
    if (!this.#isOurs(keys)) return;
    // Score, ping, name.
    const listed = lines.filter((line) => /^-?\d+ -?\d+ /.test(line)).length;
    this.players = listed;
    if (listed === 0) this.isOver = true;
    else this.asks = [asked("getinfo", this.#challenge)];
  }

  #readInfo(text: string, listed: number): void {
    if (!this.#isOurs(text)) return;
    const [clients, humans] = [readCount(keyed(text, "clients")), readCount(keyed(text, "g_humanplayers"))];
    const bots = clients === undefined || humans === undefined ? 0 : clients - humans;
    this.end(bots >= 0 && bots <= listed ? listed - bots : listed);
  }

  /** A server repeats the challenge, unless it is a very old one. */
  #isOurs(keys: string): boolean {
    return (keyed(keys, "challenge") ?? this.#challenge) === this.#challenge;
  }
}

function asked(word: string, challenge: string): Buffer {
  return Buffer.concat([CONNECTIONLESS, Buffer.from(`${word} ${challenge}\n`, "latin1")]);
}

/** Keys and values between backslashes, a backslash first. */
function keyed(text: string, key: string): string | undefined {
  const parts = text.split("\n", 1)[0]?.split("\\") ?? [];
  const at = parts.findIndex((part, index) => index % 2 === 1 && part === key);
  return at < 0 ? undefined : parts[at + 1];
}
