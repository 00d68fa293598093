/**
 * One configuration file while it is edited: a copy of it in a folder of the caller's alone, and the new text's way
 * back. Links are followed to the file that they lead to, which is what changes.
 */
import {
  closeSync,
  existsSync,
  fchmodSync,
  fchownSync,
  fsyncSync,
  lstatSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { BerthError } from "../../errors.ts";
import { printable } from "../../printable.ts";
import { syncFolder } from "../../rootfs/disk/durable.ts";
import { shellWord } from "../new/next-steps.ts";

export class EditedFile {
  /** The file that changes: no link. */
  readonly path: string;
  /** The berths and templates that are read from it. */
  readonly names: readonly string[];
  /** What the editor gets. */
  readonly copy: string;
  #before: Buffer;

  /**
   * Opens the file of a berth or template in the operator's folder, the last one. Throws CONFIG_INVALID if there is
   * none, and SYSTEM_ERROR if it cannot be read.
   */
  constructor(name: string, directories: readonly string[]) {
    const named = join(directories.at(-1) ?? "", `${name}.toml`);
    mustBeThere(name, named, directories.slice(0, -1));
    this.path = onDisk(named, () => realpathSync(named));
    if (!statSync(this.path).isFile()) throw notRegular(name, named, this.path);
    this.#before = onDisk(this.path, () => readFileSync(this.path));
    this.names = [...new Set(namesOf(this.path, directories))];
    this.copy = onDisk(tmpdir(), () => join(mkdtempSync(join(tmpdir(), "berth-edit-")), basename(this.path)));
    writeFileSync(this.copy, this.#before, { mode: 0o600 });
  }

  /** The text of the copy; undefined if it is as the file was. Throws SYSTEM_ERROR if the editor has removed it. */
  edited(): string | undefined {
    const text = onDisk(this.copy, () => readFileSync(this.copy));
    if (text.equals(this.#before)) return undefined;
    try {
      return new TextDecoder("utf-8", { fatal: true }).decode(text);
    } catch (cause) {
      throw new BerthError("CONFIG_INVALID", "the text is not UTF-8; choose that in the editor", { cause });
    }
  }

  /** Whether the copy has something that the file has not. */
  get isUnsaved(): boolean {
    try {
      return !readFileSync(this.copy).equals(this.#before);
    } catch {
      return false;
    }
  }

  /**
   * Replaces the file by the text as a whole, with its mode and owner. Throws CONFIG_INVALID if somebody else has
   * changed it since it was opened.
   */
  save(text: string): void {
    this.#mustBeUnchanged();
    const next = join(dirname(this.path), `.${basename(this.path)}.${process.pid}.edit`);
    onDisk(this.path, () => {
      const { mode, uid, gid } = statSync(this.path);
      const fd = openSync(next, "wx", 0o600);
      try {
        writeFileSync(fd, text);
        const { uid: ownUid, gid: ownGid } = statSync(next);
        if (ownUid !== uid || ownGid !== gid) fchownSync(fd, uid, gid);
        fchmodSync(fd, mode & 0o7777);
        fsyncSync(fd);
        this.#mustBeUnchanged();
        renameSync(next, this.path);
      } catch (error) {
        rmSync(next, { force: true });
        throw error;
      } finally {
        closeSync(fd);
      }
    });
    this.#before = Buffer.from(text);
    syncFolder(dirname(this.path));
  }

  /** Removes the copy, with what the editor has left beside it. */
  forget(): void {
    rmSync(dirname(this.copy), { recursive: true, force: true });
  }

  #mustBeUnchanged(): void {
    const now = onDisk(this.path, () => readFileSync(this.path));
    if (now.equals(this.#before)) return;
    const [file, copy] = [shellWord(this.path), shellWord(this.copy)];
    throw new BerthError(
      "CONFIG_INVALID",
      `${printable(this.path)} has changed since you opened it; to compare: diff -u ${file} ${copy}; to save yours: cp ${copy} ${file}`,
    );
  }
}

function mustBeThere(name: string, named: string, packaged: readonly string[]): void {
  if (lstatSync(named, { throwIfNoEntry: false }) !== undefined) return;
  const from = packaged
    .map((folder) => join(folder, `${name}.toml`))
    .find((path) => lstatSync(path, { throwIfNoEntry: false }));
  const remedy =
    from === undefined
      ? `to write it: berth new ${name}`
      : `to have your own version of ${printable(from)}: cp ${shellWord(from)} ${shellWord(named)} && berth edit ${name}`;
  throw new BerthError("CONFIG_INVALID", `there is no ${printable(named)}; ${remedy}`);
}

function notRegular(name: string, named: string, path: string): BerthError {
  const remedy =
    path === "/dev/null" ? `to have the berth again: rm ${shellWord(named)}` : `remove it: berth rm ${name}`;
  const what = path === named ? "is" : `leads to ${printable(path)}, which is`;
  return new BerthError("CONFIG_INVALID", `${printable(named)} ${what} no regular file; ${remedy}`);
}

/** The names under which the configuration has this file. A link to an instance's template is read as the template. */
function* namesOf(path: string, directories: readonly string[]): Generator<string> {
  for (const directory of directories) {
    // Most machines have not all of the folders.
    if (!existsSync(directory)) continue;
    for (const entry of readdirSync(directory)) {
      const [, name] = /^([^.].*)\.toml$/.exec(entry) ?? [];
      if (name === undefined || !leadsTo(join(directory, entry), path)) continue;
      const [template, instance] = name.split("@");
      const isLinkToTemplate = instance && targetOf(join(directory, entry)) === `${template}@.toml`;
      if (!isLinkToTemplate) yield name;
    }
  }
}

function leadsTo(entry: string, path: string): boolean {
  try {
    return realpathSync(entry) === path;
  } catch {
    return false; // it leads nowhere
  }
}

function targetOf(entry: string): string | undefined {
  return lstatSync(entry).isSymbolicLink() ? basename(readlinkSync(entry)) : undefined;
}

/** Throws SYSTEM_ERROR with the path and the reason. */
function onDisk<T>(path: string, action: () => T): T {
  try {
    return action();
  } catch (error) {
    if (error instanceof BerthError || !(error instanceof Error && "code" in error)) throw error;
    const verb = "syscall" in error && (error.syscall === "read" || error.syscall === "open") ? "open" : "write";
    const isDenied = error.code === "EACCES" || error.code === "EPERM" || error.code === "EROFS";
    const remedy = isDenied ? "; run it with sudo" : "";
    throw new BerthError("SYSTEM_ERROR", `cannot ${verb} ${printable(path)}: ${String(error.code)}${remedy}`, {
      cause: error,
    });
  }
}
