// A server that takes its berth by the library. Try it next to a running `npm start`, which prints the socket's path:
//   BERTHD_SOCKET=… node examples/library.mjs arena@bob
import { acquire } from "berthd";

const tenancy = await acquire(process.argv[2] ?? "arena@bob");
const game = tenancy.dgram("game");
game.on("message", (said, from) => game.send(`got: ${said}`, from.port, from.address));
await tenancy.ready();
for (const { name, address } of tenancy.descriptors) console.log(`serving ${name} on ${address}`);
process.once("SIGINT", () => tenancy.release());
