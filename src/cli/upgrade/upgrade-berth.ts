/**
 * Upgrades the server of one berth: drains it, starts the new version, and waits until that serves. If it does not, the
 * old version is started again.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { BerthError, RefusedError } from "../../errors.ts";
import { acrossRestarts } from "../across-restarts.ts";
import { secondsOf } from "../ask.ts";
import { type BerthRecord, findBerth } from "../berths/berth-records.ts";
import { cancelDrain, type DrainChoice, drain } from "../berths/drain-calls.ts";
import { start } from "../commands/start.ts";
import { stop } from "../commands/stop.ts";
import { hasSystemd } from "../own-start.ts";
import { servicesFor, unitOf } from "../services.ts";
import { mustBeSound, type Started } from "../started.ts";
import { awaitEnd } from "./await-end.ts";
import { brokersImages, type ImageVersion, olderVersions } from "./images.ts";

export interface UpgradeChoice extends DrainChoice {
  /** Do not wait for players. */
  readonly now?: true;
  /** Also a server that is of the present version. */
  readonly force?: true;
}

/** What `--json` prints. */
export interface Upgraded {
  /** none: nobody has it. current: its server is of the present version. */
  readonly kind: "upgraded" | "current" | "none";
  readonly pid?: number;
  readonly unit?: string | null;
  readonly images?: readonly string[];
}

/** How long a server that does not send READY=1 must keep its berth, and how often to look, in milliseconds. */
const SETTLE_MS = 3000;
const LOOK_MS = 200;
/** What is begun after the old server's end is finished, also when somebody interrupts: the berth has a server then. */
const NEVER: AbortSignal = new AbortController().signal;
/** Longer than the broker keeps what it has read of the current images: a second. */
const IMAGES_FRESH_MS = 1100;

/**
 * Throws SYSTEM_ERROR or ABORTED if the new version does not serve; the message says what runs now. `signal` ends it
 * as long as the old server can go on. After that it is finished.
 */
export async function upgradeBerth(name: string, choice: UpgradeChoice, signal: AbortSignal): Promise<Upgraded> {
  const before = await findForUpgrade(name, choice);
  mustBeSound(before);
  const { lease, root } = before;
  if (!lease) return { kind: "none" };
  if (!before.outdated && !root?.newer && !choice.force) return { kind: "current", pid: lease.pid };
  await mustBeStartable(before);
  await end(name, lease.id, choice, signal);
  const older = olderVersions(before);
  let upgraded: Upgraded;
  try {
    upgraded = await begin(name, choice, before);
  } catch (error) {
    if (!(error instanceof BerthError)) throw error;
    throw await goBack(name, older, choice, error);
  }
  const wanted = root?.newer;
  // A broker that was started meanwhile does not know which versions a server's root has: only the image's name.
  const isWanted = (image: string, at: number): boolean =>
    image === wanted?.[at] || wanted?.[at]?.startsWith(`${image}@`) === true;
  if (!wanted || upgraded.images?.every(isWanted)) return upgraded;
  const message = `berth ${name} was started with ${upgraded.images?.join(" + ")}, not with ${wanted.join(" + ")}: the current version has changed meanwhile`;
  throw new BerthError("SYSTEM_ERROR", message);
}

/** The broker looks at most once a second what the current images are, so a second look may show a newer one. */
async function findForUpgrade(name: string, choice: UpgradeChoice): Promise<BerthRecord> {
  const first = await findBerth(name, choice);
  const isPlain = first.outdated || !first.lease || !first.root || first.root.newer || choice.force;
  if (isPlain) return first;
  await sleep(IMAGES_FRESH_MS);
  return await findBerth(name, choice);
}

/** Before its server is stopped: throws SYSTEM_ERROR if it would not be started again. */
async function mustBeStartable({ name, lease }: BerthRecord): Promise<void> {
  if (!hasSystemd() || !lease) return;
  const unit = unitOf(name);
  const services = await servicesFor(name);
  if (lease.unit === unit || lease.pid === (await services.mainOf(unit))) return;
  const message = `pid ${lease.pid} of berth ${name} is not ${unit}: berth drain --watch ${name}, then start it as before`;
  throw new BerthError("SYSTEM_ERROR", message);
}

/** Resolves when the old server has ended. Throws ABORTED while it goes on. */
async function end(name: string, lease: string, choice: UpgradeChoice, signal: AbortSignal): Promise<void> {
  if (choice.now) {
    if (signal.aborted) throw new BerthError("ABORTED", "interrupted");
    return void (await acrossRestarts(() => stop(name, longer(choice), NEVER), NEVER));
  }
  const wasDraining = (await findBerth(name, choice)).drain !== undefined;
  try {
    // A broker that ends before it answers may have begun the drain: the next one goes on with it.
    await acrossRestarts(() => drain(name, choice), signal);
    await awaitEnd(name, lease, choice, signal);
  } catch (error) {
    if (!signal.aborted || wasDraining) throw error;
    // The broker would stop the server, and this command would not start it again.
    if (await hasCancelled(name, choice)) throw error;
    await awaitEnd(name, lease, choice, NEVER);
  }
}

/** False if the server is being stopped, or has ended: then nobody can take the drain back. */
async function hasCancelled(name: string, choice: UpgradeChoice): Promise<boolean> {
  try {
    return Boolean((await acrossRestarts(() => cancelDrain(name, choice), NEVER)).drain);
  } catch (error) {
    if (error instanceof RefusedError && error.error === "io.berthd.Broker.ServerStopping") return false;
    throw error;
  }
}

/** Starts the server, and waits until it serves: until it says so, if the old one did; or for a while. */
async function begin(name: string, choice: UpgradeChoice, before: Pick<BerthRecord, "ready">): Promise<Upgraded> {
  // Once more is no second server: one that has the berth by then is the one.
  const started = await acrossRestarts(() => start(name, choice, NEVER), NEVER);
  const record = await awaitService(name, started, before.ready === true, choice);
  return { kind: "upgraded", pid: started.pid, unit: started.unit, images: record.root?.images ?? [] };
}

async function awaitService(
  name: string,
  { pid }: Started,
  saysReady: boolean,
  choice: UpgradeChoice,
): Promise<BerthRecord> {
  const timeout = secondsOf(choice);
  const begun = performance.now();
  for (;;) {
    const record = await acrossRestarts(() => findBerth(name, choice), NEVER);
    const passed = performance.now() - begun;
    if (record.lease?.pid !== pid)
      throw new BerthError("SYSTEM_ERROR", `pid ${pid} of berth ${name} ended soon after it had started`);
    if (saysReady ? record.ready : passed >= SETTLE_MS) return record;
    if (saysReady && passed > timeout * 1000)
      throw new BerthError("ABORTED", `pid ${pid} of berth ${name} has not said within ${timeout} s that it is ready`);
    await sleep(LOOK_MS);
  }
}

/** Starts the old version again, and says what runs now. */
async function goBack(
  name: string,
  older: readonly ImageVersion[],
  choice: UpgradeChoice,
  why: BerthError,
): Promise<BerthError> {
  const failed = `the new version of berth ${name} does not serve: ${why.message}`;
  if (older.length === 0) {
    const message = `${failed}; its old configuration is gone: put that back, then: berth reload && berth restart ${name}`;
    return new BerthError("SYSTEM_ERROR", message, { cause: why });
  }
  const versions = older.map(({ name: image, version }) => `${image}@${version}`).join(" + ");
  try {
    await acrossRestarts(() => stop(name, longer(choice), NEVER), NEVER);
    const images = await brokersImages(choice);
    for (const { name: image, version } of older) images.use(image, version);
    const { pid } = await acrossRestarts(() => start(name, choice, NEVER), NEVER);
    const message = `${failed}; ${versions} runs again, as pid ${pid}, and is the current version`;
    return new BerthError("SYSTEM_ERROR", message, { cause: why });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return new BerthError("SYSTEM_ERROR", `${failed}; and ${versions} could not be started again: ${reason}`, {
      cause: why,
    });
  }
}

/** A server may take long to end: without --timeout, as long as `berth stop` waits. */
function longer({ socket }: UpgradeChoice): { readonly socket?: string } {
  return socket === undefined ? {} : { socket };
}
