/** Folders of a command in a berth's state folder, for its own time. One that was killed leaves its own to the next. */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { system } from "../../rootfs/disk/durable.ts";

/** A new folder `WHAT-PID` in `parent`, for nobody else, removed with `using`. Removes those of commands that ended. */
export class Scratch implements Disposable {
  readonly path: string;

  constructor(parent: string, what: "snapshot" | "saving" | "restoring") {
    this.path = join(parent, `${what}-${process.pid}`);
    system(parent, () => {
      removeAbandoned(parent);
      mkdirSync(this.path, { mode: 0o700 });
    });
  }

  [Symbol.dispose](): void {
    remove(this.path);
  }
}

/** Removes what killed commands have left of any berth. It may be as large as the berth's files. */
export function removeAllAbandoned(state: string): void {
  const roots = join(state, "roots");
  system(roots, () => {
    if (!existsSync(roots)) return;
    for (const one of readdirSync(roots, { withFileTypes: true }))
      if (one.isDirectory()) removeAbandoned(join(roots, one.name));
  });
}

function removeAbandoned(parent: string): void {
  for (const name of readdirSync(parent)) {
    const pid = /^(?:snapshot|saving|restoring)-(\d+)$/.exec(name)?.[1];
    if (pid !== undefined && (Number(pid) === process.pid || !existsSync(`/proc/${pid}`))) remove(join(parent, name));
  }
}

/** By rm(1): it never follows a link that a server's process has put in the place of a folder meanwhile. */
function remove(path: string): void {
  spawnSync("rm", ["-rf", "--one-file-system", "--", path], { stdio: "ignore" });
}
