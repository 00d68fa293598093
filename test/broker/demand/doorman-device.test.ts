/** A sleeping server whose UDP socket is bound to an interface, in a broker that has no CAP_NET_RAW. */
import { expect, it } from "vitest";
import { spawnBroker } from "../../support/broker.ts";
import { asleep, berth, getstatus, join3 } from "../../support/doorman/doors.ts";
import { needs, pathOf } from "../../support/needs.ts";
import { NetNamespace } from "../../support/net-namespace.ts";

const PORT = 7000;
const HOST = "10.9.0.1";
/** Sends a datagram again until there is an answer, which it prints. */
const ASK =
  "import socket, sys\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(0.2)\n" +
  "for _ in range(150):\n" +
  "    try: s.sendto(bytes.fromhex(sys.argv[3]), (sys.argv[1], int(sys.argv[2]))); print(s.recv(2048)); break\n" +
  "    except OSError: pass";

function ask(players: NetNamespace, question: Uint8Array): string {
  return players.run("python3", "-c", ASK, HOST, String(PORT), Buffer.from(question).toString("hex"));
}

it(
  "is answered for, also after the interface went and came back, and a join wakes it",
  needs("root", "ip", "unshare", "nsenter", "setpriv"),
  async () => {
    await using host = await NetNamespace.make();
    await using players = await NetNamespace.make();
    host.plug("vpn0", players);
    const file = berth([`udp://0.0.0.0:${PORT}`], asleep).replace("[server]", 'device = "vpn0"\n[server]');
    const weak = [...host.wrap, pathOf("setpriv"), "--bounding-set=-net_raw"];
    await using broker = await spawnBroker({ "arena.toml": file }, [], weak);
    expect(ask(players, getstatus)).toContain("Frozen Lake");
    host.unplug("vpn0");
    await broker.logged(({ event }) => event === "interface-gone");
    host.plug("vpn0", players);
    await broker.logged(({ message }) => message.includes("it was opened again"));
    expect(ask(players, getstatus)).toContain("Frozen Lake");
    // Nobody needs to do anything about it.
    const said = broker.log.filter(({ event }) => event === "repaired").map(({ message }) => message);
    const why = "setsockopt SO_BINDTOIFINDEX: EPERM";
    const message = `cannot follow its interface, which went and came back (${why}); it was opened again`;
    expect(said).toEqual([`berth arena: socket game0 ${message}`]);
    expect(ask(players, join3)).toContain("echo");
    const { pid } = await broker.logged(({ event }) => event === "acquired");
    process.kill(Number(pid), "SIGKILL"); // it would outlive its broker
  },
);
