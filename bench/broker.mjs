/** The broker of `dist/` as every benchmark starts it, with its files in the benchmark's folder. It starts nothing. */
import { join } from "node:path";
import { root } from "./session.mjs";

/** The broker's paths in `folder`, and its command. Where `config` is, its caller writes the berths. */
export function brokerIn(folder) {
  const [config, state, socket, log] = ["config", "state", "berthd.sock", "berthd.log"].map((name) =>
    join(folder, name),
  );
  const options = ["--config", config, "--state", state, "--socket", socket];
  return { config, state, socket, log, command: [process.execPath, join(root, "dist/cli/berthd.js"), ...options] };
}
