/** What a person at a terminal of 80 columns sees: the list, the live table, and a progress that Ctrl-C ends. */
import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { spawnBroker, TestFolder } from "../support/broker.ts";
import { needs } from "../support/needs.ts";
import { Tmux } from "../support/tmux.ts";
import { berth, berths, cli } from "./support.ts";

const command = (...words: string[]): string => [process.execPath, cli, ...words].join(" ");

describe("at a terminal", needs("tmux"), () => {
  test("berth ls is a table of 80 columns", async () => {
    await using broker = await spawnBroker(berths);
    using terminal = new Tmux(command("ls", "--socket", broker.socket));
    const screen = await terminal.shows("lobby");
    expect(screen.replace(/:\d+(?= |$)/gm, ":PORT").replace(/ +$/gm, "")).toBe(
      [
        "NAME         STATE   PID  USER  SOCKETS",
        "arena@alice  vacant  -    -     game=udp://127.0.0.1:PORT",
        "                                game=udp://[::1]:PORT",
        "arena@bob    vacant  -    -     game=udp://127.0.0.1:PORT",
        "                                game=udp://[::1]:PORT",
        "lobby        vacant  -    -     web=tcp://127.0.0.1:PORT",
      ].join("\n"),
    );
  });

  test("berth top is drawn anew, and q gives the terminal back as it was", async () => {
    await using broker = await spawnBroker(berths);
    using terminal = new Tmux(
      `echo before; ${command("top", "--interval", "0.2", "--socket", broker.socket)}; echo after`,
    );
    const screen = await terminal.shows("lobby");
    const [head = "", ...rows] = screen.split("\n");
    expect(head.split(/ +/).slice(0, 2)).toEqual(["NAME", "STATE"]);
    expect(rows.map((row) => row.split(" ")[0])).toEqual(["arena@alice", "arena@bob", "lobby"]);
    expect(screen).not.toContain("before");
    terminal.press("q");
    await terminal.shows("after");
    expect(terminal.screen).toBe("before\nafter");
    terminal.type("echoed");
    await terminal.shows("echoed");
  });

  test("an import shows how far it is; Ctrl-C ends it, and leaves no image and no half a line", async () => {
    using folder = new TestFolder();
    const tree = join(folder.path, "tree");
    for (let part = 0; part < 200; part++) {
      mkdirSync(join(tree, String(part)), { recursive: true });
      for (let n = 0; n < 100; n++) writeFileSync(join(tree, String(part), String(n)), "");
    }
    const state = join(folder.path, "state");
    using terminal = new Tmux(
      `trap : INT; ${command("image", "import", "--state", state, "arena", tree)}; echo status $?`,
    );
    const screen = await terminal.shows("files");
    expect(screen).toMatch(/^(copying|comparing): \d+ files$/);
    terminal.press("C-c");
    expect(await terminal.shows("status")).toMatch(/^(\^C)?\n?status 130$/);
    expect((await berth(["image", "ls", "--state", state])).stdout).toBe("no images\n");
    expect(readdirSync(join(state, "images"), { recursive: true })).toEqual([".work"]);
  });
});
