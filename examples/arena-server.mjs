// A game server whose players stay when a new version of it starts. Its berth has a TCP socket `chat` and a UDP socket
// `game`, with room for what players send while nobody reads:
//   [sockets.chat]
//   listen = ["tcp://*:27960"]
//   [sockets.game]
//   listen = ["udp://*:27960"]
//   receive-buffer = "4M"
// Start it by `node examples/arena-server.mjs arena`. To upgrade it, start it once more: the new process goes on with
// the players, and the first one ends.
//
// A player on TCP says a line, and hears it with the number of lines so far. A datagram "NAME …" on UDP is answered
// with the number of datagrams of that NAME.
import { acquire } from "berthd";

const tenancy = await acquire(process.argv[2] ?? "arena", { replace: "try" });
const taken = await tenancy.takeConnections();
const hits = new Map(taken.state.length > 0 ? JSON.parse(taken.state) : []);
/** Of each connection: lines so far, and the part of a line that has come. */
const known = new Map(taken.connections.map(({ socket, state }) => [socket, JSON.parse(state)]));

await tenancy.ready(); // only now: until here, the present server serves on if this one fails

const chat = tenancy.net("chat");
chat.on("connection", (player) => {
  const state = known.get(player) ?? { lines: 0, part: "" };
  known.set(player, state);
  player.on("data", (data) => {
    const [part, ...ended] = (state.part + data.toString("latin1")).split("\n").reverse();
    state.part = part;
    for (const line of ended.reverse()) player.write(`${line} ${++state.lines}\n`);
  });
  player.on("error", () => player.destroy());
  player.on("close", () => known.delete(player));
});
for (const { socket } of taken.connections) {
  chat.emit("connection", socket);
  socket.resume();
}

let game = play();
function play() {
  const socket = tenancy.dgram("game");
  socket.on("message", (said, from) => {
    const [name] = said.toString("latin1").split(" ");
    hits.set(name, (hits.get(name) ?? 0) + 1);
    socket.send(`${said} ${hits.get(name)}`, from.port, from.address);
  });
  return socket;
}

let stashed = [];
tenancy.on("handover", async () => {
  game.close(); // datagrams wait in the berth's socket
  const state = () => Buffer.from(JSON.stringify([...hits]));
  const stateOf = (player) => Buffer.from(JSON.stringify(known.get(player)));
  try {
    ({ stashed } = await tenancy.stashConnections(chat, { state, stateOf }));
  } catch (error) {
    console.error(`the connections stay here: ${error.message}`);
  }
});
tenancy.on("resumed", () => {
  game = play(); // the new process has failed; the connections go on here by themselves
});
tenancy.on("replaced", () => {
  for (const player of stashed) player.destroy(); // the new process has them
  // This one ends when the players that it could not hand over have left.
});
process.once("SIGTERM", () => process.exit());
console.log(`serving ${known.size} players, pid ${process.pid}`);
