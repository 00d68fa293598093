/** The network of a world: nodes on a switch, each in a network namespace of its own. The switch can be cut in two. */
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";

const PREFIX = "10.88.0";
/** Where the program itself is. */
const OWN = `${PREFIX}.254`;
const SIDES = ["side0", "side1"];

function ip(...args) {
  execFileSync("ip", args, { stdio: ["ignore", "ignore", "inherit"] });
}

/** Makes the switch. This process is on its first side. */
export function makeSwitch() {
  ip("link", "set", "lo", "up");
  for (const side of SIDES) {
    ip("link", "add", side, "type", "bridge");
    ip("link", "set", side, "up");
  }
  ip("addr", "add", `${OWN}/24`, "dev", SIDES[0]);
}

export class Node {
  /** `number`: 1 to 253. */
  constructor(name, number) {
    this.name = name;
    this.address = `${PREFIX}.${number}`;
  }

  async open() {
    const holder = spawn("unshare", ["--net", "--", "sh", "-c", "echo ready; exec sleep infinity"], {
      stdio: ["ignore", "pipe", "inherit"],
      detached: true,
    });
    await once(holder.stdout, "data");
    /** In front of a command that runs there. */
    this.wrap = ["nsenter", `--net=/proc/${holder.pid}/ns/net`, "--"];
    ip("link", "add", this.name, "type", "veth", "peer", "name", "eth0", "netns", String(holder.pid));
    ip("link", "set", this.name, "master", SIDES[0], "up");
    this.#ip("addr", "add", `${this.address}/24`, "dev", "eth0");
    for (const device of ["lo", "eth0"]) this.#ip("link", "set", device, "up");
    return this;
  }

  /** Joins it to a side: 0 or 1. Packets to nodes of the other side are lost. */
  moveTo(side) {
    ip("link", "set", this.name, "master", SIDES[side]);
  }

  /** Loses what it sends to these nodes, and gets what they send. */
  mute(others) {
    for (const { address } of others) this.#ip("route", "add", "blackhole", `${address}/32`);
  }

  unmute(others) {
    for (const { address } of others) this.#ip("route", "del", "blackhole", `${address}/32`);
  }

  #ip(...args) {
    execFileSync(this.wrap[0], [...this.wrap.slice(1), "ip", ...args], { stdio: ["ignore", "ignore", "inherit"] });
  }
}
