/** Versions of images go from one host's state folder to another's by berth serve-state, and stay the same tree. */
import { execFileSync, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, linkSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Manifest } from "../../../src/rootfs/images/manifest.ts";
import { TestFolder } from "../../support/broker.ts";
import { ask, request, StateService } from "../../support/fleet/state-service.ts";
import { needs } from "../../support/needs.ts";
import { berth } from "../support.ts";

const nowhere = { BERTHD_SOCKET: "/nowhere/broker" };
const done = { ok: true, bytes: expect.any(Number) };
const arena = { image: "arena", version: "2.1" };

describe("images by berth serve-state", needs("root", "setcap"), () => {
  /** Of the host that sends, and of the one that gets. */
  const [from, to] = [new TestFolder(), new TestFolder()];
  let [sender, receiver]: [StateService | undefined, StateService | undefined] = [undefined, undefined];
  let archive: Buffer;

  const import_ = async (state: TestFolder, version: string, tree: string): Promise<void> => {
    const words = ["image", "import", "--state", state.path, "--version", version, "arena", tree];
    expect(await berth(words, nowhere)).toMatchObject({ code: 0 });
  };
  const manifestOf = (state: TestFolder, version: string): Manifest =>
    JSON.parse(readFileSync(join(state.path, "images/arena", version, "manifest.json"), "utf8"));
  const pathOf = (service: StateService | undefined): string => service?.path ?? "";
  const images = async (state: TestFolder): Promise<string> =>
    (await berth(["image", "ls", "--names", "--state", state.path], nowhere)).stdout;
  const upload = async (bytes: Buffer, version = "2.1") =>
    (await ask(pathOf(receiver), { method: "ImportImage", image: "arena", version }, [bytes])).lines;
  /** Nothing that an import left behind. */
  const isTidy = (state: TestFolder): void => {
    const work = join(state.path, "images/.work");
    expect(existsSync(work) ? readdirSync(work) : []).toEqual([]);
  };

  beforeAll(async () => {
    from.write({ "tree/bin/ping": "#!ping\n", "tree/a b\n": "odd", "tree/d/one": "linked" });
    const tree = join(from.path, "tree");
    linkSync(join(tree, "d/one"), join(tree, "other"));
    const script = `mkfifo pipe; ln -s /etc/passwd link; mknod null c 1 3; mknod gone c 0 0; truncate -s 3M holes
      echo end >>holes; chown 5:6 bin/ping; chmod 4755 bin/ping; setcap cap_net_raw+ep bin/ping
      touch -d '2001-02-03 04:05:06.789012345' d/one; chmod 1777 d`;
    execFileSync("sh", ["-ec", script], { cwd: tree, env: { ...process.env, PATH: `${process.env["PATH"]}:/sbin` } });
    const attribute = "import os; os.setxattr('d', 'user.note', b'x'); os.setxattr('d', 'trusted.note', b'y')";
    execFileSync("python3", ["-c", attribute], { cwd: tree });
    await import_(from, "2.1", tree);
    const options = (state: TestFolder): string[] => ["--folder", "/nowhere", "--state", state.path];
    sender = await StateService.start(join(from.path, "service"), options(from));
    receiver = await StateService.start(join(to.path, "service"), options(to));
    const { lines, bytes } = await ask(sender.path, { method: "ExportImage", ...arena });
    expect(lines).toEqual([{ ok: true }, { ok: true, bytes: bytes.length }]);
    archive = bytes;
  });
  afterAll(async () => {
    await sender?.[Symbol.asyncDispose]();
    await receiver?.[Symbol.asyncDispose]();
    from[Symbol.dispose]();
    to[Symbol.dispose]();
  });

  test("the other host has the same tree, and sends the same bytes", async () => {
    expect(await upload(archive)).toEqual([done]);
    expect(await images(to)).toBe("arena@2.1\n");
    const [sent, got] = [manifestOf(from, "2.1"), manifestOf(to, "2.1")];
    expect(got).toEqual({ ...sent, imported: got.imported });
    const { bytes } = await ask(pathOf(receiver), { method: "ExportImage", ...arena });
    // The first member, the manifest, has the time of the import.
    const start = bytes.indexOf("tree/");
    expect(start).toBeGreaterThan(0);
    expect(bytes.subarray(start).equals(archive.subarray(archive.indexOf("tree/")))).toBe(true);
    isTidy(to);
  });

  test("a version that is there is not replaced", async () => {
    expect(await upload(archive)).toMatchObject([{ ok: false, code: "IMAGE_IN_USE" }]);
    isTidy(to);
  });

  test("the versions of a host are listed, with their digests", async () => {
    const { lines, bytes } = await ask(pathOf(sender), { method: "ListImages" });
    expect(lines).toEqual([{ ok: true }, { ok: true, bytes: bytes.length }]);
    const { digest, bytes: size } = manifestOf(from, "2.1");
    expect(JSON.parse(bytes.toString())).toEqual({
      folder: join(from.path, "images"),
      room: expect.any(Number),
      images: [{ name: "arena", version: "2.1", digest, bytes: size }],
    });
    using empty = new TestFolder();
    await using service = await StateService.start(join(empty.path, "service"), [
      ...["--folder", "/nowhere", "--state", empty.path],
    ]);
    const none = await ask(service.path, { method: "ListImages" });
    expect(JSON.parse(none.bytes.toString())).toMatchObject({ images: [] });
    expect(JSON.parse(none.bytes.toString()).room).toBeGreaterThan(0);
  });

  test("an archive of another tree than the one that is wanted is refused", async () => {
    const { digest } = manifestOf(from, "2.1");
    const wanting = async (wanted: unknown) =>
      (await ask(pathOf(receiver), { method: "ImportImage", image: "arena", version: "6", digest: wanted }, [archive]))
        .lines;
    const other = `sha256:${"0".repeat(64)}`;
    expect(await wanting(other)).toMatchObject([
      { ok: false, code: "IMPORT_FAILED", error: expect.stringContaining(`the digest ${digest}; ${other} is wanted`) },
    ]);
    expect(await wanting("latest")).toMatchObject([{ ok: false, code: "PROTOCOL_ERROR" }]);
    expect(await images(to)).not.toContain("arena@6\n");
    isTidy(to);
    expect(await wanting(digest)).toEqual([done]);
  });

  test("another version is not the current one: berths of the administrator keep theirs", async () => {
    using other = new TestFolder({ map: "x" });
    await import_(to, "mine", other.path);
    expect(await upload(archive, "2.2")).toEqual([done]);
    const { stdout } = await berth(["image", "ls", "--json", "--state", to.path], nowhere);
    const current = (JSON.parse(stdout) as { version: string; current: boolean }[]).filter((one) => one.current);
    expect(current.map(({ version }) => version)).toEqual(["mine"]);
  });

  test("an archive whose tree was changed is refused", async () => {
    const changed = Buffer.from(archive);
    changed.write("#!evil", changed.indexOf("#!ping"));
    expect(await upload(changed, "3")).toMatchObject([
      { ok: false, code: "IMPORT_FAILED", error: expect.stringMatching(/ its tree has the digest sha256:/) },
    ]);
    expect(await images(to)).not.toContain("arena@3\n");
    isTidy(to);
  });

  test.each([
    ["a device", "mknod tree/disk b 8 0", /has a device node: disk \(block 8:0\)/],
    ["the manifest as a file of the tree", "ln manifest.json tree/shared", /is the same file as one outside of tree$/],
    ["a link for the manifest", "mv manifest.json m; ln -s /etc/passwd manifest.json", /its manifest is no file/],
    ["a manifest of its own", "echo '{}' >manifest.json", /^manifest.json of the archive is damaged/],
    ["a link for the tree", "rm -r tree; ln -s /etc tree", /tree in it is no folder/],
    ["no tree", "rm -r tree", /tree: Not found in archive/],
  ])("an archive with %s is refused", async (_, script, sentence) => {
    using folder = new TestFolder();
    writeFileSync(join(folder.path, "a.tar"), archive);
    const members = script.startsWith("rm -r tree") && !script.includes("ln") ? "manifest.json" : "manifest.json tree";
    const all = `mkdir x; cd x; tar --extract --file ../a.tar; ${script}; tar --create ${members}`;
    const { stdout, status } = spawnSync("sh", ["-ec", all], { cwd: folder.path, maxBuffer: 1 << 26 });
    expect(status).toBe(0);
    expect(await upload(stdout, "4")).toMatchObject([{ ok: false, error: expect.stringMatching(sentence) }]);
    expect(await images(to)).not.toContain("arena@4\n");
    isTidy(to);
  });

  test("an agent that goes away leaves no part of an image", async () => {
    const socket = connect(pathOf(receiver));
    socket.end(request({ method: "ImportImage", image: "arena", version: "5" }, [archive]).subarray(0, -4));
    await once(socket.resume(), "close");
    expect((await receiver?.last.ended)?.stderr).toMatch(/^ImportImage arena@5: the agent has closed the connection/);
    expect(await images(to)).not.toContain("arena@5\n");
    isTidy(to);
  });

  /** An archive with a file of holes: it is short, and takes a minute to be read. */
  function holes(size: string): Buffer {
    using folder = new TestFolder();
    writeFileSync(join(folder.path, "a.tar"), archive);
    const all = `tar --extract --file a.tar; truncate -s ${size} tree/empty; tar --sparse --create manifest.json tree`;
    const { stdout, status } = spawnSync("sh", ["-ec", all], { cwd: folder.path, maxBuffer: 1 << 26 });
    expect(status).toBe(0);
    return stdout;
  }

  test("an archive whose files have more bytes than a request may have is refused, though it is short", async () => {
    expect(await upload(holes("65G"), "7")).toMatchObject([
      {
        ok: false,
        code: "IMPORT_FAILED",
        error: expect.stringContaining("its files have more than 68719476736 bytes"),
      },
    ]);
    isTidy(to);
  });

  test("an agent that goes away ends the import also when it has sent all", { timeout: 60_000 }, async () => {
    const socket = connect(pathOf(receiver));
    socket.write(request({ method: "ImportImage", image: "arena", version: "8" }, [holes("60G")]));
    const work = join(to.path, "images/.work");
    const isRead = (): boolean =>
      existsSync(work) &&
      readdirSync(work, { recursive: true, encoding: "utf8" }).some((one) => one.endsWith("/empty"));
    await expect.poll(isRead, { timeout: 30_000 }).toBe(true);
    socket.destroy();
    expect((await receiver?.last.ended)?.stderr).toMatch(/^ImportImage arena@8: the agent has closed the connection/);
    expect(await images(to)).not.toContain("arena@8\n");
    isTidy(to);
  });

  test("whether a host has a version is known at once", async () => {
    expect((await ask(pathOf(sender), { method: "ExportImage", image: "arena", version: "9" })).lines).toEqual([
      { ok: false, code: "IMAGE_ABSENT", error: "the image arena has no version 9" },
    ]);
    const socket = connect(pathOf(sender));
    socket.write(request({ method: "ExportImage", ...arena }));
    const [first] = (await once(socket, "data")) as [Buffer];
    expect(first.toString().startsWith('{"ok":true}\n')).toBe(true);
    socket.destroy();
    expect((await sender?.last.ended)?.code).toBe(0);
  });

  test.each([
    [{ image: "../arena", version: "1" }],
    [{ image: "arena", version: "current" }],
    [{ image: "/etc", version: "1" }],
    [{ image: "arena@2.1", version: "" }],
    [{ image: "arena" }],
  ])("no path is a name: %j", async (fields) => {
    expect((await ask(pathOf(sender), { method: "ExportImage", ...fields })).lines).toMatchObject([
      { ok: false, code: "PROTOCOL_ERROR", error: expect.stringMatching(/is no version of an image$/) },
    ]);
  });
});
