/** `berth oci`: what a container runtime needs to serve on a berth's sockets. It changes nothing. */
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import type { Command } from "commander";
import { BerthError } from "../../errors.ts";
import { agentPath, ownSocketPath } from "../../net/socket-path.ts";
import { configForBerth } from "../../oci/config.ts";
import { isRecord, type Json, MINIMAL_PROFILE, profileWithAgent } from "../../oci/profile.ts";
import { printableJson } from "../../printable.ts";
import { findBerth } from "../berths/berth-records.ts";
import { type SocketChoice, socketOption } from "../options.ts";
import { print } from "../print/stdout.ts";

interface ProfileOptions extends SocketChoice {
  readonly base?: string;
}

interface SpecOptions extends ProfileOptions {
  readonly rootfs?: string;
}

/** Where Debian, Fedora and others have the default profile of podman. */
const DEFAULT_BASE = "/usr/share/containers/seccomp.json";

const profileHelp = `
The profile is the default one of containers-common, with the rule for bind(2). Where that is not installed, it is a
minimal one.

Examples:
  berth oci profile arena > arena.json
  podman run --network none --security-opt seccomp=arena.json IMAGE`;

const specHelp = `
The container has no network of its own, and the ids of the berth's range if the berth has a root.

Examples:
  runc spec && berth oci spec arena config.json > new.json && mv new.json config.json
  berth oci spec arena config.json --rootfs /srv/arena/root > new.json`;

const base = ["--base <file>", `another profile than ${DEFAULT_BASE}`] as const;

export function addOci(program: Command): void {
  const oci = program.command("oci").description("serve from containers of runc, crun, podman and others");
  oci
    .command("profile")
    .description("print a seccomp profile for a container that serves a berth")
    .argument("<berth>", "its name")
    .addOption(socketOption())
    .option(...base)
    .addHelpText("after", profileHelp)
    .action((name: string, _options: ProfileOptions, command: Command) => {
      print(`${printableJson(profileOf(name, command.optsWithGlobals<ProfileOptions>()), 2)}\n`);
    });
  oci
    .command("spec")
    .description("print a bundle's config.json for a container that serves a berth")
    .argument("<berth>", "its name")
    .argument("<config>", "the bundle's config.json")
    .addOption(socketOption())
    .option(...base)
    .option("--rootfs <folder>", "the folder with the container's files")
    .addHelpText("after", specHelp)
    .action(async (name: string, file: string, _options: SpecOptions, command: Command) => {
      const options = command.optsWithGlobals<SpecOptions>();
      const config = readJson(file);
      const berth = await findBerth(name, options);
      const range = berth.range ?? undefined;
      if (berth.root && range === undefined)
        throw new BerthError(
          "CONFIG_INVALID",
          `berth ${name} has a root, but no range of ids before it was taken once; take it: berth-launch --dry-run ${name} -- true`,
        );
      const profile = profileOf(name, options);
      const patched = configForBerth(config, { profile, range, rootfs: options.rootfs }, process);
      print(`${printableJson(patched, 2)}\n`);
    });
}

function profileOf(berth: string, { base: file, socket = ownSocketPath() }: ProfileOptions): Json {
  const path = file ?? DEFAULT_BASE;
  const listenerPath = agentPath(socket.startsWith("@") ? socket : resolve(socket));
  const from = readBase(path, file === undefined);
  const profile = profileWithAgent(from, { listenerPath, listenerMetadata: berth });
  if (typeof profile !== "string") return profile;
  throw new BerthError("CONFIG_INVALID", `cannot use the seccomp profile ${path}: ${profile}; give another by --base`);
}

function readBase(path: string, mayLack: boolean): Json {
  try {
    return readJson(path);
  } catch (error) {
    const cause = error instanceof Error ? error.cause : undefined;
    if (mayLack && cause instanceof Error && "code" in cause && cause.code === "ENOENT") return MINIMAL_PROFILE;
    throw error;
  }
}

function readJson(path: string): Json {
  try {
    const value: unknown = JSON.parse(readFileSync(path, "utf8"));
    if (isRecord(value)) return value;
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new BerthError("CONFIG_INVALID", `cannot read ${path}: ${why}`, { cause });
  }
  throw new BerthError("CONFIG_INVALID", `cannot read ${path}: it is no JSON object`);
}
