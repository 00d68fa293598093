/** `berth units`: what it writes where, and what it leaves alone. What systemd makes of it: test/systemd/boot. */
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { launcherPath } from "../../src/launcher-path.ts";
import { execWord, renderUnit, unitNames } from "../../src/systemd/units.ts";
import { TestFolder } from "../support/broker.ts";
import { berth, cli } from "./support.ts";

const units = [
  ...["berth@.service", "berthd.service", "berthd.socket", "berths.slice", "berths.target"],
  ...["container-veth@.service", "container@.service"],
];

test("print shows every unit, with the programs of this installation", async () => {
  const { code, stdout } = await berth(["units", "print"]);
  expect(code).toBe(0);
  for (const name of units) expect(stdout).toContain(`systemctl edit ${name}\n`);
  expect(stdout).toContain(`ExecStart=${process.execPath} ${cli.replace(/berth\.js$/, "berthd.js")} --state`);
  expect(stdout).toContain(`ExecStart=${launcherPath()} --no-namespaces %i`);
  expect(stdout).not.toMatch(/@[a-z-]+@(?!\.)/);
});

test("print takes names, and knows which there are", async () => {
  expect((await berth(["units", "print", "berths.slice"])).stdout).toMatch(/^# [^\n]*\n\n\[Unit\]\nDescription=/);
  const { code, stderr } = await berth(["units", "print", "berth.service"]);
  expect(code).toBe(100);
  expect(stderr).toBe(`berth: there is no unit "berth.service"; there are ${units.join(", ")}\n`);
});

test("install writes all files below --root, once", async () => {
  using folder = new TestFolder();
  const place = join(folder.path, "etc/systemd/system");
  const first = await berth(["units", "install", "--root", folder.path]);
  expect(first).toMatchObject({ code: 0, stderr: "" });
  expect(first.stdout).toBe(units.map((name) => `wrote     ${join(place, name)}\n`).join(""));
  expect(readdirSync(place).sort()).toEqual(units);
  expect(statSync(join(place, "berthd.service")).mode & 0o777).toBe(0o644);
  const second = await berth(["units", "install", "--root", folder.path]);
  expect(second.stdout).toBe(units.map((name) => `unchanged ${join(place, name)}\n`).join(""));
});

test("install replaces a file of an earlier version, and leaves one alone that somebody else has written", async () => {
  using folder = new TestFolder();
  await berth(["units", "install", "--root", folder.path]);
  const [ours, theirs] = ["berths.slice", "berthd.socket"].map((name) => join(folder.path, "etc/systemd/system", name));
  const earlier = `${readFileSync(ours ?? "", "utf8")}# earlier\n`;
  writeFileSync(ours ?? "", earlier);
  writeFileSync(theirs ?? "", "[Socket]\nListenStream=/else\n");
  const { code, stdout } = await berth(["units", "install", "--root", folder.path]);
  expect(code).toBe(1);
  expect(stdout).toContain(`wrote     ${ours}\n`);
  expect(stdout).toContain(`left      ${theirs}\n`);
  expect(stdout).toMatch(/left: berth did not write this file; move its settings to a drop-in/);
  expect(readFileSync(ours ?? "", "utf8")).not.toBe(earlier);
  expect(readFileSync(theirs ?? "", "utf8")).toContain("/else");
});

test("install --prefix is for packages: their folder, their programs", async () => {
  using folder = new TestFolder();
  const { code } = await berth(["units", "install", "--root", folder.path, "--prefix", "/usr"]);
  expect(code).toBe(0);
  const place = join(folder.path, "usr/lib/systemd/system");
  expect(readFileSync(join(place, "berthd.service"), "utf8")).toContain("ExecStart=/usr/bin/berthd --state");
  expect(readFileSync(join(place, "berth@.service"), "utf8")).toContain(
    "ExecStart=/usr/bin/berth-launch --no-namespaces %i\n",
  );
  const relative = await berth(["units", "install", "--root", folder.path, "--prefix", "usr"]);
  expect(relative.code).toBe(100);
  expect(relative.stderr).toContain("is not an absolute path");
});

test("install --dry-run says it all and writes nothing", async () => {
  using folder = new TestFolder();
  const { code, stdout } = await berth(["units", "install", "--dry-run", "--root", folder.path]);
  expect(code).toBe(0);
  expect(stdout.match(/^wrote /gm)).toHaveLength(units.length);
  expect(existsSync(join(folder.path, "etc"))).toBe(false);
});

test("a reload is waited for where systemd knows how", () => {
  const programs = { berthd: ["/usr/bin/berthd"], launcher: "/usr/bin/berth-launch" };
  expect(renderUnit("berthd.service", { ...programs, systemd: 252 }).text).toContain("\nType=notify\nExecReload=kill ");
  expect(renderUnit("berthd.service", { ...programs, systemd: 253 }).text).toContain("\nType=notify-reload\nReloadSig");
  expect(unitNames()).toEqual(units);
});

test("paths are taken as they are, whatever systemd would read into them", () => {
  expect(execWord("/usr/bin/node")).toBe("/usr/bin/node");
  expect(execWord("/opt/100%/$x")).toBe("/opt/100%%/$$x");
  expect(execWord('/opt/my "games"')).toBe('"/opt/my \\"games\\""');
});
