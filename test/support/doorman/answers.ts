/** What servers that run answer to the questions of an inquiry, made by hand. */
import type { DatagramName } from "../../../packages/doorman/src/index.ts";
import { hex, hexAndText, text } from "./bytes.ts";

export interface RunningServer {
  readonly what: string;
  /** How many it must be taken to have. */
  readonly players: number | undefined;
  readonly tell: (question: Uint8Array) => readonly Buffer[];
}

const outside = (value: string): Buffer => hexAndText("ffffffff", value);
const texts = (...all: readonly string[]): Buffer => text(all.map((one) => `${one}\0`).join(""));

function a2s(players: number, bots: number): RunningServer["tell"] {
  return (question) => {
    if (!Buffer.from(question).subarray(25).equals(hex("0a0b0c0d"))) return [hex("ffffffff41 0a0b0c0d")];
    const about = texts("Frozen Lake", "lake", "tf", "Team Fortress");
    return [Buffer.concat([hex("ffffffff4911"), about, hex("b801"), Buffer.of(players, 24, bots), hex("646c0001")])];
  };
}

/** `humans`: undefined of a server whose getinfo does not tell. */
function quake3(pings: readonly number[], humans: number | undefined, isTold = true): RunningServer["tell"] {
  return (question) => {
    const [word, challenge = ""] = Buffer.from(question).toString("latin1", 4).trim().split(" ");
    const repeated = `\\challenge\\${challenge}`;
    if (word === "getstatus") {
      const lines = pings.map((ping, at) => `${at - 1} ${ping} "Player ${at}"\n`).join("");
      return [outside(`statusResponse\n\\sv_hostname\\Frozen Lake${repeated}\n${lines}`)];
    }
    const clients = `\\clients\\${pings.length}`;
    const human = humans === undefined ? "" : `\\g_humanplayers\\${humans}`;
    return isTold ? [outside(`infoResponse\n${repeated}${clients}${human}`)] : [];
  };
}

function bedrock(players: string): RunningServer["tell"] {
  return (question) => {
    const said = text(`MCPE;Frozen\\; Lake;800;1.21.80;${players};10;1;lake;Survival;1;19132;19133;`);
    const length = Buffer.of(said.length >> 8, said.length & 255);
    const time = Buffer.from(question).subarray(1, 9);
    return [Buffer.concat([hex("1c"), time, hex("0000000000000001 00ffff00fefefefefdfdfdfd12345678"), length, said])];
  };
}

function teeworlds6(players: number, clients: number): RunningServer["tell"] {
  return (question) => {
    const bytes = Buffer.from(question);
    if (bytes.length !== 15) return [];
    const fields = texts(
      String(bytes[14]),
      "0.6.4",
      "Frozen Lake",
      "lake",
      "DM",
      "0",
      `${players}`,
      "16",
      `${clients}`,
      "16",
    );
    return [
      Buffer.concat([hex("ffffffffffff ffffffff"), text("inf3"), fields, texts("nameless tee", "", "0", "1", "1")]),
    ];
  };
}

function teeworlds7(players: number, clients: number): RunningServer["tell"] {
  return (question) => {
    const bytes = Buffer.from(question);
    if (bytes.length > 512) return [Buffer.concat([hex("040000"), bytes.subarray(8, 12), hex("05 11223344")])];
    if (bytes[0] !== 0x21 || !bytes.subarray(1, 5).equals(hex("11223344"))) return [];
    const header = Buffer.concat([hex("21"), bytes.subarray(5, 9), hex("11223344 ffffffff"), text("inf3")]);
    const about = texts("0.7.5", "Frozen Lake", "", "lake", "DM");
    return [Buffer.concat([header, bytes.subarray(17), about, Buffer.of(0, 1, players, 16, clients, 16)])];
  };
}

export const answers: Readonly<Record<DatagramName, readonly RunningServer[]>> = {
  a2s: [
    { what: "three play", players: 3, tell: a2s(3, 0) },
    { what: "three, one of them a bot", players: 2, tell: a2s(3, 1) },
    { what: "more bots than players, who are not among them", players: 3, tell: a2s(3, 5) },
    { what: "only bots", players: 0, tell: a2s(4, 4) },
  ],
  quake3: [
    { what: "nobody", players: 0, tell: quake3([], 0) },
    { what: "two people", players: 2, tell: quake3([48, 999], 2) },
    { what: "a person and two bots", players: 1, tell: quake3([48, 0, 0], 1) },
    { what: "only bots", players: 0, tell: quake3([0, 0], 0) },
    { what: "a server that does not tell bots apart", players: 2, tell: quake3([48, 0], undefined) },
    { what: "a server without getinfo", players: 2, tell: quake3([48, 0], 1, false) },
    { what: "more people than clients", players: 2, tell: quake3([48, 50], 7) },
  ],
  bedrock: [
    { what: "nobody", players: 0, tell: bedrock("0") },
    { what: "seven", players: 7, tell: bedrock("7") },
    { what: "a text for a number", players: undefined, tell: bedrock("many") },
  ],
  teeworlds: [
    { what: "0.6: nobody", players: 0, tell: teeworlds6(0, 0) },
    { what: "0.6: two play and one watches", players: 3, tell: teeworlds6(2, 3) },
    { what: "0.7: nobody", players: 0, tell: teeworlds7(0, 0) },
    { what: "0.7: two play and one watches", players: 3, tell: teeworlds7(2, 3) },
  ],
};

/** A status of Minecraft Java. */
export function tellJava(status: unknown): Buffer {
  const json = text(JSON.stringify(status));
  const body = Buffer.concat([hex("00"), length(json.length), json]);
  return Buffer.concat([length(body.length), body]);
}

/** 7 bits a byte, the lowest first; always three bytes. */
const length = (value: number): Buffer => Buffer.of((value & 127) | 128, ((value >> 7) & 127) | 128, value >> 14);
