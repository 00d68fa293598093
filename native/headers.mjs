/**
 * The environment for node-gyp: it names the headers that came with the running Node, so that a build needs no
 * internet. Node's archives, its container images and most packages put them in include/node, next to bin/node. Plain
 * JavaScript without dependencies: it runs while there are none.
 */
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";

/** `env`, with npm_config_nodedir where Node's own headers are there and nobody has set it. */
export function withHeaders(env = process.env, node = process.execPath) {
  if (env.npm_config_nodedir || env.npm_package_config_node_gyp_nodedir) return env;
  const nodedir = join(dirname(node), "..");
  return hasHeaders(nodedir) ? { ...env, npm_config_nodedir: nodedir } : env;
}

/** Another Node's headers may lie there: in /usr/include, while this Node was put in /usr/bin by hand. */
function hasHeaders(nodedir) {
  const [major] = process.versions.node.split(".");
  try {
    const text = readFileSync(join(nodedir, "include/node/node_version.h"), "utf8");
    return new RegExp(`^#define NODE_MAJOR_VERSION ${major}$`, "m").test(text);
  } catch {
    return false;
  }
}
