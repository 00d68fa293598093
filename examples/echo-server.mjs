// A server without any code for berthd. It gets its sockets, already bound, by socket activation (sd_listen_fds(3)).
// It never binds a port itself, so it needs no privilege.
import dgram from "node:dgram";
import net from "node:net";

const names = process.env.LISTEN_FDNAMES.split(":");
const fd = (name) => 3 + names.indexOf(name);
const answer = (said) => `uid ${process.getuid()}, pid ${process.pid} got: ${String(said).trimEnd()}\n`;

const chat = net.createServer((client) => {
  client.on("data", (said) => client.write(answer(said)));
  client.on("error", () => client.destroy());
});
chat.listen({ fd: fd("chat") });

const game = dgram.createSocket("udp4");
game.on("message", (said, from) => game.send(answer(said), from.port, from.address));
game.bind({ fd: fd("game") });
