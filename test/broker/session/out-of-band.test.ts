/** A byte that a client sends with MSG_OOB is one like all others (src/net/out-of-band.ts). */
import { expect, it } from "vitest";
import { startBroker } from "../../support/broker.ts";
import { Puppet } from "../../support/puppet.ts";

const files = { "a.toml": '[sockets.s]\nlisten = ["udp://127.0.0.1:0"]\n' };

it("is read in its place, as the first, a middle and the last one of a call", async () => {
  await using broker = await startBroker(files);
  await using puppet = await Puppet.connect(broker.socket);
  for (const at of [0, 20, -1]) {
    await puppet.do(`
call = json.dumps({"method": "io.berthd.Broker.List"}).encode() + b"\\0"
at = ${at} % len(call)
b.socket.send(call[:at])
b.socket.send(call[at:at + 1], socket.MSG_OOB)
b.socket.send(call[at + 1:])
`);
    expect(await puppet.do('result = b.receive()["parameters"]["berths"][0]["name"]')).toBe("a");
  }
});

it("brings its descriptors to the call that it is a part of", async () => {
  await using broker = await startBroker(files);
  await using puppet = await Puppet.connect(broker.socket);
  const lease = await puppet.acquire("a");
  await puppet.do(`
import array
call = json.dumps({"method": "io.berthd.Broker.Stash", "parameters": {"lease": "${lease}", "name": "x"}}).encode() + b"\\0"
rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [os.memfd_create("x")]))
b.socket.sendmsg([call[:1]], [rights], socket.MSG_OOB)
b.socket.send(call[1:])
`);
  expect(await puppet.do('result = b.receive().get("error")')).toBeNull();
  expect((await puppet.call("Unstash", { lease, name: "x" })).error).toBeUndefined();
});

it("begins a call that has to be ended in time, as any other byte", async () => {
  await using broker = await startBroker(files, { deadline: 300 });
  await using puppet = await Puppet.connect(broker.socket);
  await puppet.do('b.socket.send(b"{", socket.MSG_OOB)');
  expect(await puppet.do("result = b.receive()")).toBeNull();
});
