/** Who may ask the server, and for what: the pure parts. */
import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { pagePolicy } from "../../packages/web/src/http/headers.ts";
import { isOwnHost } from "../../packages/web/src/http/host-check.ts";
import { targetOf } from "../../packages/web/src/http/server.ts";
import { networkOf, Tally } from "../../packages/web/src/http/tally.ts";
import { knowsToken } from "../../packages/web/src/http/token.ts";
import { isLocal, parseListen } from "../../packages/web/src/options/listen.ts";
import { parseOptions } from "../../packages/web/src/options/options.ts";

describe("the Host header", () => {
  it.each(["127.0.0.1:9115", "localhost", "localhost.:9115", "[::1]:9115", "127.9.9.9", "STATUS.example:1"])(
    "%s is this server's",
    (host) => expect(isOwnHost(host, ["status.example"], false)).toBe(true),
  );

  it.each([
    "evil.example",
    "127.0.0.1.evil.example",
    "localhost.evil.example",
    "1.2.3.4",
    "",
    "a b",
    "x@127.0.0.1",
    undefined,
  ])("%s is not, so a page that has its name point here reads nothing", (host) =>
    expect(isOwnHost(host, ["status.example"], false)).toBe(false),
  );

  it("may be any name on a UNIX socket, where no browser comes", () => {
    expect(isOwnHost("anything", [], true)).toBe(true);
  });
});

describe("the target of a request", () => {
  it("is a path and a query", () => {
    expect(targetOf("/api/v1/berths/vm/arena%40bob?limit=5")?.path).toBe("/api/v1/berths/vm/arena@bob");
    expect(targetOf("/api/v1/quiet?berth=a/b")?.query.get("berth")).toBe("a/b");
  });

  it.each([
    "/../etc/passwd",
    "/%2e%2e/etc/passwd",
    "/a/..",
    "/a/%2e%2e%2fb",
    "/.",
    "//evil",
    "/a\\b",
    "/a%00",
    "/%zz",
    "*",
    "http://x/",
  ])("%s is none", (target) => expect(targetOf(target)).toBe(undefined));
});

describe("the token", () => {
  const token = "0123456789abcdef";
  const basic = (text: string): string => `Basic ${Buffer.from(text).toString("base64")}`;

  it("is known by a bearer, and by a browser that has it as the password", () => {
    expect([`Bearer ${token}`, basic(`me:${token}`), basic(`:${token}`)].map((one) => knowsToken(one, token))).toEqual([
      true,
      true,
      true,
    ]);
  });

  it("is not known by anything else", () => {
    const wrong = [undefined, "", token, `Bearer ${token}x`, "Bearer ", basic(token), basic(`${token}:`), "Basic ####"];
    expect(wrong.filter((one) => knowsToken(one, token))).toEqual([]);
  });
});

describe("a tally", () => {
  it("has a limit for each address, and one for all", () => {
    const tally = new Tally({ perAddress: 2, total: 3 });
    const first = tally.take("10.0.0.1");
    expect([first, tally.take("10.0.0.1"), tally.take("10.0.0.1")].map((one) => one !== undefined)).toEqual([
      true,
      true,
      false,
    ]);
    expect(tally.take("10.0.0.2")).toBeDefined();
    expect(tally.take("10.0.0.3")).toBe(undefined);
    first?.();
    first?.();
    expect(tally.all).toBe(2);
    expect(tally.take("10.0.0.1")).toBeDefined();
    expect(tally.take("10.0.0.1")).toBe(undefined);
  });

  it("counts a /64 of IPv6 as one, and IPv4 as itself", () => {
    expect(networkOf("2001:db8:1:2:3:4:5:6")).toBe(networkOf("2001:db8:1:2::9"));
    expect(networkOf("2001:db8:1:3::9")).not.toBe(networkOf("2001:db8:1:2::9"));
    expect(networkOf("::ffff:10.0.0.1")).toBe("10.0.0.1");
    expect(networkOf("fe80::1%eth0")).toBe(networkOf("fe80::2"));
  });
});

it("the policy of a page names its inline scripts and styles by their hashes, and allows nothing else inline", () => {
  const policy = pagePolicy('<style>a{}</style><script>let a;</script><script type="module" src="/page.js"></script>');
  const hash = (text: string): string => createHash("sha256").update(text).digest("base64");
  expect(policy).toContain(`script-src 'self' 'sha256-${hash("let a;")}';`);
  expect(policy).toContain(`style-src 'self' 'sha256-${hash("a{}")}';`);
  expect(policy).toMatch(/^default-src 'none'; .*frame-ancestors 'none'$/);
  expect(policy).not.toContain("unsafe");
});

describe("the command line", () => {
  it("takes addresses and sockets, and knows which of them others reach", () => {
    const local = ["127.0.0.1:1", "[::1]:80", "localhost:9115", "unix:/run/web.sock"].map(parseListen);
    expect(local.map(isLocal)).toEqual([true, true, true, true]);
    expect(["0.0.0.0:1", "[::]:80", "192.0.2.1:9115"].map(parseListen).map(isLocal)).toEqual([false, false, false]);
  });

  it.each(["9115", "host:80", "127.0.0.1:99999", "unix:web.sock", "127.0.0.1:", ""])("refuses %s", (text) =>
    expect(() => parseListen(text)).toThrow(/--listen .* is not an address: /),
  );

  it("refuses options that go with others, and names of berths that are none", () => {
    expect(() => parseOptions(["--tls-cert", "a"], {})).toThrow(/go together/);
    expect(() => parseOptions(["--public", "../x=Y"], {})).toThrow(/names no berth/);
    expect(() => parseOptions(["--nonsense"], {})).toThrow(/see berth-web --help/);
    const options = parseOptions(["--public", "arena@bob=A = B"], { STATE_DIRECTORY: "/var/lib/berth-web:/x" });
    expect(options).toMatchObject({ history: "/var/lib/berth-web/history.db" });
    expect(typeof options === "object" && [...options.publicBerths]).toEqual([["arena@bob", "A = B"]]);
  });
});
