/** berthd-state.socket on a booted systemd: files of a berth leave a root and come back, by the units as they are. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { bootMachine, MACHINE, type Machine } from "../../support/machine.ts";
import { needs } from "../../support/needs.ts";

/** Sends a request with its frames, and writes the frames of the answer to a file. It prints the lines. */
const CLIENT = `import json, socket, sys
request, sent, got = sys.argv[1:4]
peer = socket.socket(socket.AF_UNIX)
peer.connect("/run/berthd/state")
peer.sendall(request.encode() + b"\\n")
if sent:
    data = open(sent, "rb").read()
    peer.sendall(len(data).to_bytes(4, "big") + data + bytes(4))
stream = peer.makefile("rb")
line = stream.readline().decode()
print(line, end="")
if got and json.loads(line)["ok"]:
    with open(got, "wb") as file:
        while length := int.from_bytes(stream.read(4), "big"):
            file.write(stream.read(length))
    print(stream.readline().decode(), end="")
`;

const LOBBY = '[root]\nimage = "arena"\n[server]\nuser = "range"\n';
const BROKER = `[Service]
ExecStart=
ExecStart=/usr/local/bin/berthd --state /var/lib/berthd --config /etc/berthd --config /var/lib/berth-fleet
`;

describe("berthd-state on a booted systemd", needs(...MACHINE), () => {
  let machine: Machine;
  beforeAll(async () => {
    machine = await bootMachine({
      files: {
        "/etc/berthd/admin.toml": LOBBY,
        "/var/lib/berth-fleet/lobby.toml": LOBBY,
        "/etc/systemd/system/berthd.service.d/options.conf": BROKER,
        "/srv/arena/map": "dm6\n",
        "/srv/client.py": CLIENT,
      },
    });
    await machine.sh("berth units install && systemctl daemon-reload");
    await machine.sh("systemctl enable --now berthd.socket berthd-state.socket");
    await machine.ok(["berth", "image", "import", "arena", "/srv/arena"]);
  }, 120_000);
  afterAll(async () => {
    await machine?.[Symbol.asyncDispose]();
  });

  const ask = async (request: object, sent = "", got = ""): Promise<unknown[]> => {
    const out = await machine.ok(["python3", "/srv/client.py", JSON.stringify(request), sent, got]);
    return out
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
  };
  const run = (script: string): Promise<string> => machine.ok(["berth", "run", "lobby", "--", "/bin/sh", "-c", script]);

  test("files are saved and restored, with what overlayfs and the range need", async () => {
    await run("echo one >{root}/save; chmod 600 {root}/save; rm {root}/map; mkdir {root}/d; echo x >{root}/d/x");
    expect(await ask({ method: "Save", berth: "lobby" }, "", "/srv/saved")).toEqual([
      { ok: true },
      { ok: true, bytes: expect.any(Number) },
    ]);
    await run("echo two >{root}/save; rm -r {root}/d");
    expect(await ask({ method: "Restore", berth: "lobby" }, "/srv/saved")).toEqual([
      { ok: true, bytes: expect.any(Number) },
    ]);
    expect(await run("cat {root}/save {root}/d/x; ls {root}")).toBe("one\nx\nd\nsave\n");
    expect(await machine.journal("berthd-state@*")).toMatch(/berthd-state\[\d+\]: Restore lobby: /);
  });

  test("a refused request leaves a sentence in the journal, and no failed unit", async () => {
    expect(await ask({ method: "Save", berth: "admin" })).toMatchObject([{ ok: false, code: "REFUSED" }]);
    expect(await machine.journal("berthd-state@*")).toContain("Save admin: berth admin is not one of the fleet");
    await machine.waitFor("the end of all requests", async () => {
      const { stdout } = await machine.run([
        "systemctl",
        "list-units",
        "--all",
        "--plain",
        "--no-legend",
        "berthd-state@*",
      ]);
      return stdout === "";
    });
  });

  test("another user cannot connect", async () => {
    const asNobody = ["setpriv", "--reuid=65534", "--clear-groups", "python3", "/srv/client.py", "{}", "", ""];
    const { code, stderr } = await machine.run(asNobody);
    expect(code).toBe(1);
    expect(stderr).toContain("PermissionError");
  });

  test("the unit is exposed no more than the documentation says", async () => {
    const said = await machine.ok(["systemd-analyze", "security", "--no-pager", "berthd-state@x.service"]);
    expect(Number(/Overall exposure level for \S+: ([\d.]+)/.exec(said)?.[1])).toBeLessThan(4);
  });
});
