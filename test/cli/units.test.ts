/** `berth units`: what it writes where, and what it leaves alone. What systemd makes of it: test/systemd/boot. */
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { launcherPath } from "../../src/launcher-path.ts";
import { packageRoot } from "../../src/native.ts";
import { execWord, renderUnit, unitNames } from "../../src/systemd/units.ts";
import { TestFolder } from "../support/broker.ts";
import { berth } from "./support.ts";

const units = [
  ...["berth@.service", "berthd-state.socket", "berthd-state@.service", "berthd.service", "berthd.socket"],
  ...["berths.slice", "berths.target"],
  ...["container-veth@.service", "container@.service"],
];

test("print shows every unit, with the programs of this installation", async () => {
  const { code, stdout } = await berth(["units", "print"]);
  expect(code).toBe(0);
  for (const name of units) expect(stdout).toContain(`systemctl edit ${name}\n`);
  expect(stdout).toContain(`ExecStart=${process.execPath} ${join(packageRoot, "dist/cli/berthd.js")} --state`);
  expect(stdout).toContain(`ExecStart=${launcherPath()} --wait --no-namespaces --absent-status 101 %i`);
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
    "ExecStart=/usr/bin/berth-launch --wait --no-namespaces --absent-status 101 %i\n",
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

test("--systemd names the version of the machine that will read the files, not of the one that builds them", async () => {
  const print = async (version: string) =>
    (await berth(["units", "print", "--systemd", version, "berthd.service"])).stdout;
  expect(await print("252")).not.toContain("RestartSteps");
  expect(await print("257")).toContain("\nRestartSteps=8\n");
  using folder = new TestFolder();
  await berth(["units", "install", "--systemd", "257", "--prefix", "/usr", "--root", folder.path]);
  expect(readFileSync(join(folder.path, "usr/lib/systemd/system/berthd.service"), "utf8")).toContain("RestartSteps");
  const { code, stderr } = await berth(["units", "print", "--systemd", "new"]);
  expect([code, stderr]).toEqual([100, "berth: --systemd new is not a version; write for example 257\n"]);
});

test("install --user writes units for a user's own manager, which has no privilege, and none of containers", async () => {
  using folder = new TestFolder();
  const env = { XDG_CONFIG_HOME: "/home/a/.config" };
  const { code, stdout } = await berth(["units", "install", "--user", "--root", folder.path], env);
  expect(code).toBe(0);
  const place = join(folder.path, "home/a/.config/systemd/user");
  expect(readdirSync(place).sort()).toEqual(units.filter((name) => !/^(container|berthd-state)/.test(name)));
  expect(stdout.match(/^wrote /gm)).toHaveLength(5);
  const text = (name: string): string => readFileSync(join(place, name), "utf8");
  expect(text("berthd.service")).toContain(" --state %h/.local/state/berthd\n");
  expect(text("berthd.socket")).toContain("ListenStream=%t/berthd/io.berthd.Broker");
  expect(text("berths.target")).toContain("WantedBy=default.target");
  for (const name of readdirSync(place))
    expect(text(name)).not.toMatch(/^(Capability|Protect|Private|OOMScore)|[{}]$/m);
  const packaged = await berth(["units", "install", "--user", "--prefix", "/usr", "--root", folder.path]);
  expect(packaged.stdout).toContain(`wrote     ${join(folder.path, "usr/lib/systemd/user/berthd.service")}\n`);
});

test("remove takes what install wrote, of earlier versions too, and leaves everything else", async () => {
  using folder = new TestFolder();
  const place = join(folder.path, "etc/systemd/system");
  await berth(["units", "install", "--root", folder.path]);
  const earlier = readFileSync(join(place, "berths.slice"), "utf8").replaceAll("berths.slice", "gone.slice");
  const others = { "berthd.socket": "[Socket]\nListenStream=/else\n", "mine.service": "[Service]\nExecStart=true\n" };
  for (const [name, text] of Object.entries({ ...others, "gone.slice": earlier }))
    writeFileSync(join(place, name), text);
  const dry = await berth(["units", "remove", "--root", folder.path, "--dry-run"]);
  expect(readdirSync(place)).toHaveLength(units.length + 2);
  const { code, stdout } = await berth(["units", "remove", "--root", folder.path]);
  expect([dry.code, dry.stdout]).toEqual([code, stdout]);
  const removed = [...units.filter((name) => name !== "berthd.socket"), "gone.slice"].sort();
  expect(stdout).toBe(
    [`left      ${place}/berthd.socket`, ...removed.map((name) => `removed   ${place}/${name}`), ""].join("\n"),
  );
  expect(code).toBe(1);
  expect(readdirSync(place).sort()).toEqual(Object.keys(others));
  expect((await berth(["units", "remove", "--root", join(folder.path, "empty")])).stdout).toMatch(/^no unit of berth/);
});

test("every service has a name in the log of its own, not that of the program that runs it", async () => {
  const { stdout } = await berth(["units", "print"]);
  const names = Array.from(stdout.matchAll(/^SyslogIdentifier=(.*)$/gm), ([, name]) => name);
  expect(names).toEqual(["%i", "berthd-state", "berthd", "%N", "%i"]);
});

test("systemctl reload waits until the broker has reloaded, and fails with its problems", () => {
  const programs = { berthd: ["/usr/bin/berthd"], berth: ["/usr/bin/berth"], launcher: "/usr/bin/berth-launch" };
  for (const systemd of [252, 257]) {
    const { text } = renderUnit("berthd.service", { ...programs, systemd });
    expect(text).toContain("\nType=notify\n");
    expect(text).toContain("\nExecReload=/usr/bin/berth reload\n");
  }
  expect(unitNames()).toEqual(units);
});

test("the delay between restarts grows where systemd knows how", () => {
  const programs = { berthd: ["/usr/bin/berthd"], berth: ["/usr/bin/berth"], launcher: "/usr/bin/berth-launch" };
  for (const name of ["berthd.service", "berth@.service"]) {
    expect(renderUnit(name, { ...programs, systemd: 253 }).text).not.toMatch(/RestartSteps|RestartMaxDelaySec|@delay/);
    expect(renderUnit(name, { ...programs, systemd: 254 }).text).toMatch(/\nRestartSteps=8\nRestartMaxDelaySec=30s\n/);
  }
});

test("a server whose berth does not exist is not started again and again", () => {
  const programs = { berthd: ["/usr/bin/berthd"], berth: ["/usr/bin/berth"], launcher: "/usr/bin/berth-launch" };
  const { text } = renderUnit("berth@.service", { ...programs, systemd: 252 });
  expect(text).toContain(" --absent-status 101 %i\n");
  expect(text).toMatch(/^RestartPreventExitStatus=.*\b101\b/m);
});

test("paths are taken as they are, whatever systemd would read into them", () => {
  expect(execWord("/usr/bin/node")).toBe("/usr/bin/node");
  expect(execWord("/opt/100%/$x")).toBe("/opt/100%%/$$x");
  expect(execWord('/opt/my "games"')).toBe('"/opt/my \\"games\\""');
});
