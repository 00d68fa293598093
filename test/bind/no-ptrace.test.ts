/** Bind delivery by a broker of root in a container that has dropped CAP_SYS_PTRACE. */
import { expect, test } from "vitest";
import { spawnBroker } from "../support/broker.ts";
import { needs } from "../support/needs.ts";
import { berth, run } from "./harness.ts";

const PROGRAM = `import socket
try:
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).bind(("127.0.0.1", 27960))
except OSError as error:
    print(error.errno)`;

test("bind without CAP_SYS_PTRACE names the capability", needs("root", "setpriv"), async () => {
  const without = ["setpriv", "--bounding-set", "-sys_ptrace", "--inh-caps", "-sys_ptrace"];
  await using broker = await spawnBroker({ "arena.toml": berth({ game: ["udp://127.0.0.1:0"] }) }, [], without);
  await using server = run(broker, "arena", ["python3", "-c", PROGRAM]);
  const { message } = await broker.logged(({ event }) => event === "bind-refused");
  expect(message).toContain("the server's binds fail with EPERM; give the broker CAP_SYS_PTRACE");
  expect(await server.ended()).toEqual(["1"]);
});
