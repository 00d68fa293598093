/**
 * How a broker starts: inherit, settle, take over, begin. Each step gets the results of earlier steps and returns its
 * own. If a step fails, everything is closed, and a broker that was to be replaced keeps serving.
 */
import { resolve } from "node:path";
import { systemAccounts } from "../accounts.ts";
import type { HoldsAddress } from "../config/conflicts.ts";
import { type Drafts, draftsOf } from "../config/drafts.ts";
import type { LoadedConfig } from "../config/load.ts";
import { toEnd } from "../config/steps.ts";
import { ConfigError } from "../config/toml/problem.ts";
import { formatListenAddress } from "../net/address.ts";
import { Service } from "../varlink/service.ts";
import { DEFAULT_DEADLINE_MS, maxWatchers } from "./access/limits/limits.ts";
import { maxOpenFiles } from "./access/limits/open-files.ts";
import { InterfaceFollower } from "./berths/interface-follower.ts";
import { Recovery } from "./berths/recovery.ts";
import type { BrokerOptions } from "./broker-options.ts";
import { applyConfiguration, decide, noteHeld, readConfiguration } from "./configuration.ts";
import { openAgent, serveContainers } from "./container-agent.ts";
import { OnDemand, type OnDemandOptions } from "./demand/on-demand.ts";
import { createRunner } from "./demand/runner.ts";
import { DEFAULT_START_LIMITS } from "./demand/starter.ts";
import { Stops } from "./demand/stops.ts";
import { Drains } from "./drain/drains.ts";
import { Typist } from "./drain/typist.ts";
import { layFoundation } from "./foundation.ts";
import { type Inherited, inherit, openLedger } from "./inherit.ts";
import { beginKeeping, noteDoormen } from "./keeping.ts";
import { metricsMethods } from "./metrics/methods.ts";
import { NotifySockets } from "./notify/notify-sockets.ts";
import { TenantNotices } from "./notify/tenant-notices.ts";
import { type BrokerParts, closeParts, type Foundation, ownSockets, type Settled } from "./parts.ts";
import { Reloader, reloadInSlices, sayGeneral } from "./reloader.ts";
import { closeUnclaimed } from "./restart/close-unclaimed.ts";
import {
  closeInherited,
  type InheritedFds,
  type RestoreContext,
  restore,
  restoreBinds,
  sortInherited,
  tenanted,
} from "./restart/restore.ts";
import { LENT, type Predecessor } from "./restart/takeover-client.ts";
import { CONFIRM_TIMEOUT_MS, TakeoverServer, takeoverObstacle } from "./restart/takeover-server.ts";
import { TakeoverSnapshot } from "./restart/takeover-snapshot.ts";
import { Listener } from "./session/listener.ts";
import { brokerMethods } from "./session/methods.ts";
import { serviceInfo } from "./session/service-info.ts";
import type { Session } from "./session/session.ts";
import { Watchers } from "./session/watchers.ts";
import { ConsoleSockets } from "./sockets/control/console-sockets.ts";
import { type PassedSocket, withoutCopy } from "./sockets/passed-socket.ts";

/** A broker that holds its berths, and what of its inheritance has no place yet. */
interface Settlement {
  readonly parts: Settled;
  /** The control socket, borrowed. */
  readonly controlFd: number;
  /** Sockets that no berth uses. */
  readonly unclaimed: readonly PassedSocket[];
  /** Binds of running servers. They are answered once no other broker answers them. */
  readonly binds: Pick<InheritedFds, "binds" | "fallbacks">;
}

/** Owns the passed descriptors at once. Throws as `Broker.start`. */
export async function startBroker(options: BrokerOptions): Promise<BrokerParts> {
  const { predecessor } = options;
  const foundation = layFoundation(options);
  let made: Foundation & Partial<BrokerParts> = foundation;
  let fds = sortInherited(options.passed ?? [], foundation.mirror, foundation.sys);
  try {
    // A predecessor has the lock of the state folder: inherit() takes it.
    const drafts = toEnd(readConfiguration(foundation, () => undefined));
    if (isStrict(options)) refuseProblems(decide(drafts, () => false, foundation.roots));
    const inherited = await inherit(
      foundation,
      drafts.berths.map(({ draft }) => draft),
      fds,
    );
    fds = inherited.fds;
    made = { ...foundation, ledger: inherited.ledger };
    const config = decide(drafts, inheritedAddresses(inherited.fds), foundation.roots);
    const settlement = settle(foundation, config, inherited);
    made = settlement.parts;
    const held = predecessor === undefined ? settlement.parts : await takeOver(settlement.parts, predecessor);
    made = held;
    const parts = begin(held, settlement, drafts);
    made = parts;
    parts.onDemand.resume(parts.berths.list());
    return parts;
  } catch (error) {
    closeParts(made);
    closeInherited(fds);
    throw error;
  } finally {
    predecessor?.close();
  }
}

/** A broker that takes over refuses by default: the one that runs serves its berths better. */
function isStrict({ strict, predecessor }: BrokerOptions): boolean {
  return strict ?? predecessor !== undefined;
}

/** Throws CONFIG_INVALID if there is any problem. */
function refuseProblems({ problems }: LoadedConfig): void {
  if (problems.length > 0) throw new ConfigError(problems);
}

/** Whether a berth had an address in an earlier broker. */
function inheritedAddresses({ sockets }: InheritedFds): HoldsAddress {
  const held = new Set<string>();
  for (const { stored, is } of sockets)
    if (stored?.berth !== undefined && typeof is !== "string") held.add(`${stored.berth} ${formatListenAddress(is)}`);
  return (berth, listen) => held.size > 0 && held.has(`${berth} ${formatListenAddress(listen)}`);
}

/** Step 2: makes the berths those of the configuration, and gives everything that was inherited its place in them. */
function settle(foundation: Foundation, config: LoadedConfig, { fds, ledger }: Inherited): Settlement {
  const { control, log, options, sys } = foundation;
  const ofBerths = fds.sockets.filter(({ stored }) => stored === undefined || stored.berth !== undefined);
  const ofBroker = fds.sockets.filter((offer) => !ofBerths.includes(offer));
  sayGeneral(config, log);
  const absent = draftsOf(absentFrom(config, tenanted(fds, sys)), systemAccounts(sys));
  const unclaimed = applyConfiguration(foundation, config, () => !isStrict(options), { offered: ofBerths, absent });
  const names = new Set(config.specs.flatMap(({ name, sockets }) => sockets.map((socket) => `${name}.${socket.name}`)));
  control.takeSole(
    ofBerths,
    unclaimed.filter(({ name }) => !names.has(name)),
  );
  restore(fds, restoreContext(foundation));
  const controlFd = control.open(ofBroker);
  const notify = openNotify(foundation, ofBroker);
  const agent = openAgent(foundation, ofBroker);
  const taken = [controlFd, ...notify.named.map(({ socket }) => socket.fd), agent?.socket.fd];
  return {
    parts: { ...foundation, ledger, notify, agent },
    controlFd,
    unclaimed: [...unclaimed, ...ofBroker].filter(({ handle }) => handle.open && !taken.includes(handle.fd)),
    binds: fds,
  };
}

/** Those of the names that are no configured berth's. */
function absentFrom({ specs, troubled }: LoadedConfig, names: ReadonlySet<string>): string[] {
  const configured = new Set([...specs, ...troubled].map(({ name }) => name));
  return [...names].filter((name) => !configured.has(name));
}

/** Opens the notify sockets beside the control socket. */
function openNotify(foundation: Foundation, offered: readonly PassedSocket[]): NotifySockets {
  const { berths, control, events, sys, guard, log } = foundation;
  const notices = new TenantNotices({ berths, sys, log, events });
  return NotifySockets.open(`${control.path}.notify`, {
    sys,
    guard,
    log,
    offered,
    tenantAmong: (pids) => berths.leases.among(pids),
    onMessage: (tenancy, message, fds, refused) => notices.handle(tenancy, message, fds, refused),
  });
}

/**
 * Step 3, with a predecessor: it ends, and everything belongs to this broker alone. Throws BROKER_RUNNING if the
 * predecessor keeps serving.
 */
async function takeOver(parts: Settled, predecessor: Predecessor): Promise<Settled> {
  const { berths, notify, log } = parts;
  // Until it has ended, the predecessor handles exits of tenants and their messages.
  berths.leases.pause();
  notify.pause();
  await predecessor.confirm();
  const sockets = [...ownSockets(parts), ...berths.all().flatMap((berth) => berth.sockets)];
  for (const { socket } of sockets) if (socket.storedCopy === LENT) socket.storedCopy = undefined;
  for (const berth of berths.all()) berth.aside = berth.aside.map(withoutCopy);
  berths.leases.resume();
  notify.resume();
  const ledger = openLedger(parts)?.ledger;
  log("notice", `took over from pid ${predecessor.pid}`, { event: "took-over", pid: predecessor.pid });
  return { ...parts, ledger };
}

/** Step 4: no other broker has any of it now. Serves clients, and answers the binds of running servers. */
function begin(parts: Settled, { controlFd, unclaimed, binds }: Settlement, loaded: Drafts): BrokerParts {
  const { options, sys, guard, log, quota, events, repairs, berths, mirror, interceptions } = parts;
  const { ledger, notify, control, lostSockets } = parts;
  guard.start();
  beginKeeping(parts);
  closeUnclaimed(unclaimed, parts);
  restoreBinds(binds, restoreContext(parts));
  repairs.start(berths.list());
  const own = ownSockets(parts);
  mirror?.keepOwn(control.named);
  mirror?.keepAll();
  ledger?.begin(berths.all());
  noteHeld(parts);
  events.record((_, berth) => ledger?.keep(berth));
  events.record((event) => {
    if (event === "repaired") noteHeld(parts); // it may have been opened again
  });

  const consoles = new ConsoleSockets(control.path, sys);
  const dropConsoles = (): void => consoles.retain((lease) => berths.leases.get(lease) !== undefined);
  dropConsoles();
  events.record(dropConsoles);

  const { serverOutput: output = 2, serverLogs: logs } = options;
  const runner = createRunner({ socket: control.path, output, logs });
  const limits = { ...DEFAULT_START_LIMITS, ...options.starts };
  const onDoormen: OnDemandOptions["onDoormen"] = (doormen) => noteDoormen(parts, doormen);
  const onHangUp: OnDemandOptions["onHangUp"] = (berth, fd) => lostSockets.hungUp(berth, fd);
  const onDemand = new OnDemand({ sys, log, events, runner, limits, onDoormen, onHangUp, reports: berths.reports });
  const stops = new Stops({ berths, sys, log, events, runner, onDemand, stopTimeout: limits.patience });
  const isPaused = (): boolean => takeover.isUnderWay;
  const typist = new Typist({ sys, guard });
  const told = { consoles, typist, log };
  const drains = new Drains({ ...told, sys, guard, events, stops, onDemand, isPaused, limits: options.drains });
  const maxFds = maxOpenFiles();
  const watchers = new Watchers(maxWatchers(maxFds));
  events.observe((_, berth) => onDemand.observe(berth));
  repairs.observe((berth) => onDemand.observe(berth));
  events.observe((event, berth) => watchers.tell(event, berth, (session) => berths.visibility.sees(berth, session)));

  const service = new Service<Session>(serviceInfo());
  const listener = new Listener(controlFd, {
    service,
    quota,
    owners: parts.owners,
    sys,
    log,
    brokerUid: process.geteuid?.() ?? 0,
    deadline: options.deadline ?? DEFAULT_DEADLINE_MS,
    maxFds,
    berths,
    guard,
    keepsDescriptorsOut: control.keepsDescriptorsOut,
    counts: parts.counts,
  });
  const snapshot = new TakeoverSnapshot({ ...parts, own, listener, onDemand });
  const reloader = new Reloader(loaded);
  const recovery = new Recovery({
    berths,
    sys,
    isPaused,
    onCured: () => {
      onDemand.resume(berths.list());
      noteHeld(parts);
      interfaces.update();
    },
  });
  const interfaces = new InterfaceFollower({ berths, repairs, sys, log, isPaused });
  const serving = { ...parts, onDemand, stops, drains, recovery, interfaces, reloader, listener, snapshot };
  const takeover = new TakeoverServer({
    snapshot,
    obstacle: takeoverObstacle(parts),
    end: (successor) => {
      closeParts(serving, { isGiven: true, successor });
      options.onReplaced?.();
    },
    confirmTimeout: CONFIRM_TIMEOUT_MS,
    sys,
    log,
  });
  const all = { ...serving, takeover };
  service.add(
    brokerMethods({
      berths,
      interceptions,
      sys,
      notify,
      consoles,
      takeover,
      watchers,
      stops,
      drains,
      maxFds,
      state: () => parts.roots.folder && resolve(parts.roots.folder),
      reload: () => reloadInSlices(all),
      counts: parts.counts,
      log,
    }),
  );
  service.add(metricsMethods({ ...parts, maxFds, listener, watchers }));
  service.add(takeover.implementation);
  serveContainers(parts, takeover, maxFds);
  recovery.update();
  interfaces.update();
  drains.resume(berths.all());
  return all;
}

function restoreContext({ options, berths, interceptions, mirror, sys, log }: Foundation): RestoreContext {
  // A predecessor's descriptors are not in our store yet.
  return { berths, interceptions, mirror: options.predecessor === undefined ? mirror : undefined, sys, log };
}
