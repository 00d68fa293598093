/**
 * Runs a server under the bind filter, without a broker or a berth, and records what it binds. It changes nothing: each
 * bind happens on the server's own socket, and the server gets the result.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { constants } from "node:os";
import type { PasswdEntry } from "../../accounts.ts";
import { SysError } from "../../errors.ts";
import { closeAll, type FdHandle } from "../../fd.ts";
import { recvFds } from "../../fd-channel.ts";
import { launcherPath } from "../../launcher-path.ts";
import type { Native } from "../../native.ts";
import type { Interceptor, Told } from "../../native-interceptor.ts";
import { socketPair } from "../../net/socket-queries.ts";
import { Recorder, type SeenBind } from "./recorder.ts";

const { SIGTERM, SIGKILL } = constants.signals;
const CHANNEL_FD = 3;
/** How long a server may take to exit by itself, and how long the exit may take to be noticed. */
const GRACE_MS = 5000;
const LAST_MS = 1000;
/** The longest time of a timer, 24 days. This timer also keeps the process alive. */
const FOREVER_MS = 2 ** 31 - 1;

export interface Trace {
  readonly binds: readonly SeenBind[];
  /** The result of the process that was started. Both are null if it still runs after every attempt to end it. */
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** Whether the server ran under the filter. If not, the launcher has printed the reason. */
  readonly started: boolean;
}

export interface TraceOptions {
  /** The user that the server runs as; absent: this process's. */
  readonly user?: PasswdEntry | undefined;
  /** The folder that it starts in. */
  readonly directory: string;
  /** Ends the server when it fires. */
  readonly stop: AbortSignal;
  /** Ends the server after this many milliseconds. */
  readonly duration?: number | undefined;
  /** Called with messages for people. */
  readonly say: (sentence: string) => void;
  readonly sys: Native;
}

/**
 * Runs the command until all its processes have exited, `stop` fires, or `duration` is over. Then ends what still runs.
 */
export async function traceBinds(command: readonly string[], options: TraceOptions): Promise<Trace> {
  const { user, directory, stop, duration = FOREVER_MS, say, sys } = options;
  const [ours, theirs] = socketPair("stream", sys);
  using channel = ours;
  const child = launch(command, theirs, directory, user);
  const exited = once(child, "exit") as Promise<[number | null, NodeJS.Signals | null]>;
  const message = await recvFds(channel.fd);
  const notify = message?.fds[0];
  if (notify === undefined) {
    const [code, signal] = await exited;
    return { binds: [], code, signal, started: false };
  }
  const recorder = new Recorder(sys, say);
  const end = new AbortController();
  const interceptor = intercept(notify.steal(), recorder, () => end.abort(), sys);
  try {
    await firstOf([end.signal, stop], duration);
    if (!end.signal.aborted) {
      recorder.noteOpen();
      await endServer(child, recorder, end.signal);
    }
    if (!end.signal.aborted) say("a process of the server still runs; its binds fail from now on");
    const hasExited = child.exitCode !== null || child.signalCode !== null || end.signal.aborted;
    const [code, signal] = hasExited ? await exited : [null, null];
    return { binds: recorder.binds, code, signal, started: true };
  } finally {
    interceptor.close();
    closeAll(recorder.processes);
    child.unref();
  }
}

/** Standard output is for the result only, so the server's output goes to standard error. */
function launch(command: readonly string[], channel: FdHandle, cwd: string, user?: PasswdEntry): ChildProcess {
  using theirs = channel;
  const as = user === undefined ? [] : ["--as", `${user.uid}:${[user.gid, ...user.groups].join(",")}`];
  return spawn(launcherPath(), ["--trace-binds", String(CHANNEL_FD), ...as, "--", ...command], {
    stdio: ["inherit", 2, 2, theirs.fd],
    cwd,
    // As a launch sets them for server.user.
    ...(user === undefined
      ? {}
      : { env: { ...process.env, HOME: user.home, SHELL: user.shell, USER: user.name, LOGNAME: user.name } }),
  });
}

function intercept(notify: number, recorder: Recorder, onEnded: () => void, sys: Native): Interceptor {
  const tell = (told: Told): void => {
    for (const [index, fd] of interceptor.spent().entries()) if (index % 2 === 1) sys.close(fd);
    if (told === null) onEnded();
    else if ("sockaddr" in told) interceptor.answer(recorder.see(told), -1, false);
  };
  const interceptor = new sys.Interceptor(notify, tell, -1);
  const result = interceptor.start();
  if (result >= 0) return interceptor;
  interceptor.close();
  throw new SysError("pthread_create", -result);
}

/** The process that was started, and any other that has bound something, such as a server in the background. */
async function endServer(child: ChildProcess, recorder: Recorder, ended: AbortSignal): Promise<void> {
  for (const [signal, patience] of [
    [SIGTERM, GRACE_MS],
    [SIGKILL, LAST_MS],
  ] as const) {
    child.kill(signal);
    recorder.signal(signal);
    await firstOf([ended], patience);
    if (ended.aborted) return;
  }
}

/** Resolves when one of the signals fires, or after `patience` milliseconds. */
function firstOf(signals: readonly AbortSignal[], patience: number): Promise<void> {
  return new Promise((resolve) => {
    const finish = (): void => {
      clearTimeout(timer);
      for (const signal of signals) signal.removeEventListener("abort", finish);
      resolve();
    };
    const timer = setTimeout(finish, patience);
    for (const signal of signals) signal.addEventListener("abort", finish, { once: true });
    if (signals.some(({ aborted }) => aborted)) finish();
  });
}
