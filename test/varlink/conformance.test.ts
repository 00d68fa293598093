/** Every reply, event and error that a real broker gives fits the interface text it serves. */
import { expect, it } from "vitest";
import { connect } from "../../src/client/connect.ts";
import { RefusedError } from "../../src/errors.ts";
import type { FdHandle } from "../../src/fd.ts";
import type { VarlinkClient } from "../../src/varlink/client.ts";
import { parseInterface } from "../../src/varlink/idl.ts";
import { brokerInterface } from "../../src/varlink/interfaces/io.berthd.Broker.ts";
import { serviceInterface } from "../../src/varlink/interfaces/org.varlink.service.ts";
import type { Parameters } from "../../src/varlink/message.ts";
import { compileError, compileReply } from "../../src/varlink/validate.ts";
import { startBroker } from "../support/broker.ts";
import { memfd, socketPair } from "../support/sockets.ts";

const interfaces = [brokerInterface, serviceInterface].map(parseInterface);
const broker = "io.berthd.Broker";
const standard = "org.varlink.service";

/** The interface a full member name is of, and its bare name. */
function split(name: string): [(typeof interfaces)[number], string] {
  const dot = name.lastIndexOf(".");
  const found = interfaces.find((one) => one.name === name.slice(0, dot));
  if (found === undefined) throw new Error(`no interface of ${name}`);
  return [found, name.slice(dot + 1)];
}

/** Members that were seen; each must fit its text. "message" is berthd's addition to the standard errors. */
const seen = new Set<string>();

function fits(kind: "reply" | "error", name: string, parameters: Parameters): void {
  const [found, member] = split(name);
  const { message, ...rest } = parameters;
  const held = found.name === standard && typeof message === "string" ? rest : parameters;
  const validate = kind === "reply" ? compileReply(found, member) : compileError(found, member);
  expect(validate(held), `${kind} ${name} ${JSON.stringify(parameters)}`).toBeUndefined();
  seen.add(name);
}

async function call(
  client: VarlinkClient,
  method: string,
  parameters: Parameters = {},
  fds: readonly FdHandle[] = [],
): Promise<Parameters> {
  const name = method.includes(".") ? method : `${broker}.${method}`;
  try {
    using reply = await client.call(name, parameters, { fds });
    fits("reply", name, reply.parameters);
    return reply.parameters;
  } catch (error) {
    if (!(error instanceof RefusedError)) throw error;
    fits("error", error.error, error.parameters);
    return error.parameters;
  }
}

const config = {
  "arena.toml": '[sockets.game]\nlisten = ["tcp://127.0.0.1:0", "udp://[::1]:0"]\n[server]\ncommand = ["/bin/true"]\n',
  "idle.toml": '[sockets.a]\nlisten = ["unix://@berthd-conformance"]\n',
};

it("replies match the interface: every method, and every error that one process can cause", async () => {
  await using running = await startBroker(config);
  using client = await connect({ socket: running.socket });
  using watcher = await connect({ socket: running.socket });
  const events = watcher.stream(`${broker}.Watch`);
  const watched = new Set<unknown>();
  const watchUntil = async (event: string): Promise<void> => {
    while (!watched.has(event)) {
      const { value } = await events.next();
      if (value === undefined) throw new Error("the watch ended");
      fits("reply", `${broker}.Watch`, value.parameters);
      watched.add(value.parameters["event"]);
    }
  };
  await watchUntil("present");

  await call(client, `${standard}.GetInfo`);
  const { description } = await call(client, `${standard}.GetInterfaceDescription`, { interface: broker });
  expect(description).toBe(brokerInterface);
  await call(client, `${standard}.GetInterfaceDescription`, { interface: "no.such" });
  await call(client, `${broker}.NoSuchMethod`);
  await call(client, "Watch");
  await call(client, "Acquire", { berth: 1 });
  await call(client, "Acquire", { berth: "nope" });
  await call(client, "Launch", { berth: "idle" });
  await call(client, "Acquire", { berth: "arena", replace: "must" });
  await call(client, "List");
  await call(client, "GetStateFolder");
  const { lease } = await call(client, "Acquire", { berth: "arena" });
  await call(client, "List");
  const file = memfd();
  const [left, right] = socketPair();
  await call(client, "Stash", { lease, name: "state" }, [file]);
  await call(client, "Stash", { lease, name: "bad name" }, [file]);
  await call(client, "Stash", { lease, name: "other" }, [file]);
  await call(client, "Unstash", { lease, name: "other" });
  await call(client, "Stash", { lease, name: "none" });
  await call(client, "Intercept", { lease }, [file]);
  for (let at = 0; at < 300 && !seen.has(`${broker}.LimitReached`); at++) {
    await call(client, "Stash", { lease, name: `n${at}` }, [file]);
  }
  for (const handle of [file, left, right]) handle.close();
  await call(client, "Acquire", { berth: "arena" });
  await call(client, "Report", { berth: "arena", players: 3, max: 16, name: "a", map: "b" });
  await call(client, "Report", { berth: "idle", players: 3 });
  await call(client, "Speak", { berth: "arena", lease, players: 4, max: 16 });
  await call(client, "Speak", { berth: "arena", lease: "none" });
  await call(client, "List");
  await call(client, "Reload");
  await call(client, "Drain", { berth: "arena", within: 600 });
  await call(client, "List");
  await call(client, "CancelDrain", { berth: "arena" });
  await call(client, "Drain", { berth: "idle" });
  await call(client, "Stop", { berth: "idle" });
  await call(client, "Stop", { berth: "arena" });
  await call(client, "Ready", { lease });
  await call(client, "Ready", { lease: "none" });
  await call(client, "Release", { lease });
  await watchUntil("released");
  await call(client, "Launch", { berth: "arena" });
  await events.return();

  expect([...watched].sort()).toEqual(["acquired", "changed", "players", "present", "ready", "released", "stopping"]);
  for (const { name, methods } of interfaces) {
    // The reply of Intercept needs a process under a filter: test/bind has it.
    for (const method of methods.keys()) if (method !== "Intercept") expect(seen).toContain(`${name}.${method}`);
  }
  for (const error of [
    "NoSuchBerth",
    "NoSuchLease",
    "BerthVacant",
    "StopFailed",
    "LimitReached",
    "UnsuitableDescriptor",
  ])
    expect(seen).toContain(`${broker}.${error}`);
  for (const error of ["InterfaceNotFound", "MethodNotFound", "InvalidParameter", "ExpectedMore"])
    expect(seen).toContain(`${standard}.${error}`);
});
