/** What berth-web says when it cannot start: what is in its way, and what to do. */
import { once } from "node:events";
import { mkdirSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { listenFault } from "../../packages/web/src/listen-fault.ts";
import { TestFolder } from "../support/broker.ts";
import { runWeb } from "../support/web/web-process.ts";

describe("berth-web cannot start", { timeout: 60_000 }, () => {
  it("where another program has its port, and says how to find it", async () => {
    const other = createServer().listen(0, "127.0.0.1");
    await once(other, "listening");
    const address = other.address();
    const port = typeof address === "object" ? address?.port : undefined;
    const { code, err } = await runWeb(["--listen", `127.0.0.1:${port}`]);
    other.close();
    expect([code, err]).toEqual([
      111,
      expect.stringContaining(
        `berth-web: another program uses 127.0.0.1:${port} (EADDRINUSE); see which: ss -ltnp 'sport = :${port}'; or give another port with --listen\n`,
      ),
    ]);
  });

  it("where its UNIX socket has no folder, or is there already", async () => {
    using folder = new TestFolder();
    const absent = await runWeb(["--listen", `unix:${folder.path}/absent/web.sock`]);
    expect([absent.code, absent.err]).toEqual([
      111,
      expect.stringContaining(
        `berth-web: unix:${folder.path}/absent/web.sock: there is no folder ${folder.path}/absent; make it: mkdir -p ${folder.path}/absent\n`,
      ),
    ]);
    const path = join(folder.path, "web.sock");
    const other = createServer().listen(path);
    await once(other, "listening");
    const taken = await runWeb(["--listen", `unix:${path}`]);
    other.close();
    expect(taken.err).toContain(`another program listens there, or one that was killed has left it (EADDRINUSE)`);
    expect(taken.err).toContain(`rm ${path}\n`);
  });

  it("where its history has no folder, or a path too long for the socket beside it", async () => {
    using folder = new TestFolder();
    const run = (path: string) => runWeb(["--listen", "127.0.0.1:0", "--history", path]);
    const absent = await run(join(folder.path, "absent/h.db"));
    expect([absent.code, absent.err]).toEqual([
      111,
      expect.stringContaining(
        `berth-web: the history ${folder.path}/absent/h.db cannot be kept: there is no folder ${folder.path}/absent; make it: mkdir -p ${folder.path}/absent\n`,
      ),
    ]);
    const deep = join(folder.path, "x".repeat(100));
    mkdirSync(deep);
    const long = await run(join(deep, "h.db"));
    expect([long.code, long.err]).toEqual([
      111,
      expect.stringMatching(/longer than the 107 bytes of a UNIX socket\n$/),
    ]);
  });
});

it("says what else keeps it from listening", () => {
  const why = (code: string, at: Parameters<typeof listenFault>[0]): string =>
    listenFault(at, Object.assign(new Error(`listen ${code}`), { code })).message;
  const at = { host: "192.0.2.1", port: 80 };
  expect(why("EACCES", at)).toMatch(/^user \S+ may not use port 80 of 192\.0\.2\.1 \(EACCES\); give a port above 1023/);
  expect(why("EADDRNOTAVAIL", at)).toBe(
    "this host has no address 192.0.2.1 (EADDRNOTAVAIL); see which it has: ip -brief address",
  );
  expect(why("EMFILE", { host: "::1", port: 80 })).toBe("[::1]:80: listen EMFILE");
  expect(why("EACCES", { path: "/etc/web.sock" })).toMatch(
    /^unix:\/etc\/web\.sock: user \S+ may not write to .*\/etc /,
  );
  expect(why("EINVAL", {})).toBe("the passed socket: listen EINVAL");
});
