/** `server.sdk`: its ports, also those of a template; keys without effect; and two berths with one port. */
import { expect, it } from "vitest";
import { berth, load, problemsOf, socket } from "../fixture.ts";

const file = (server: string): string => `[root]\nimage = "a"\n[server]\n${server}`;

it("has the ports of Agones unless others are written, and no user", () => {
  expect(berth({ "etc/arena.toml": `${socket}[server]\nsdk = "agones"\n` }).server.sdk).toEqual({
    protocol: "agones",
    grpcPort: 9357,
    httpPort: 9358,
  });
  expect(berth({ "etc/arena.toml": socket }).server.sdk).toBeUndefined();
});

it("an instance of a template makes its ports of its name", () => {
  const template = file('sdk = "agones"\nsdk-user = "games"\nsdk-grpc-port = "12%i"\nsdk-http-port = "13%i"\n');
  const { specs, problems } = load({ "etc/arena@.toml": template, "etc/arena@001.toml": "", "etc/arena@002.toml": "" });
  expect(problems).toEqual([]);
  expect(specs.map(({ server }) => server.sdk)).toEqual([
    { protocol: "agones", grpcPort: 12_001, httpPort: 13_001, user: 60 },
    { protocol: "agones", grpcPort: 12_002, httpPort: 13_002, user: 60 },
  ]);
});

it.each([
  ["sdk-grpc-port = 12001", /server\.sdk-grpc-port has no effect without server\.sdk/],
  ['sdk-user = "games"', /server\.sdk-user has no effect without server\.sdk/],
  ['sdk = "agones"\nsdk-http-port = 80', /server\.sdk-http-port is 80, which is not a whole number from 1024 to 65535/],
  ['sdk = "agones"\nsdk-http-port = "9x"', /server\.sdk-http-port is "9.+", which is not a whole number/],
  ['sdk = "agones"\nsdk-http-port = 9357', /sdk-grpc-port and server\.sdk-http-port are both 9357/],
  ['sdk = "agnes"', /server\.sdk is "agnes"/],
])("%s is a problem", (server, message) => {
  const problems = problemsOf(`${socket}[server]\n${server}\n`);
  expect(problems).toHaveLength(1);
  expect(problems[0]).toMatch(message);
});

it("of two berths with one port the second is refused, also for gRPC and REST; the first serves", () => {
  const { specs, problems } = load({
    "etc/a.toml": file('sdk = "agones"\n'),
    "etc/b.toml": file('sdk = "agones"\nsdk-grpc-port = 9358\nsdk-http-port = 9359\n'),
    "etc/c.toml": file('sdk = "agones"\nsdk-grpc-port = 12001\nsdk-http-port = 12002\n'),
  });
  expect(specs.map(({ name }) => name)).toEqual(["a", "c"]);
  expect(problems).toHaveLength(1);
  expect(problems[0]).toMatch(/b has server\.sdk-grpc-port 9358, a port of the SDK of a, .*a\.toml/);
});
