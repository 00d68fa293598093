/**
 * The benchmark's child processes: each pinned to the one core, each wait bounded, each ended by its own handle.
 * Knows nothing of what they are.
 */
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync, readFileSync } from "node:fs";
import { connect } from "node:net";
import { basename } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";

/** MiB of memory that a process has now, or with VmHWM has had at most (proc_pid_status(5)). */
export function memoryOf(pid, line = "VmRSS") {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return Number(new RegExp(`^${line}:\\s*(\\d+) kB`, "m").exec(status)[1]) / 1024;
}

const START_MS = 15_000;
const STOP_MS = 3_000;

// Nothing that the caller's own service manager or shell has set may reach a server that is measured.
const env = { PATH: process.env.PATH, HOME: process.env.HOME, LANG: "C.UTF-8" };

export class Processes {
  #core;
  #signal;
  #servers = new Set();

  /** `core` is the CPU's number; when `signal` aborts, whatever is waited for here rejects. */
  constructor(core, signal) {
    this.#core = core;
    this.#signal = signal;
  }

  #pinned(command) {
    return ["-c", String(this.#core), ...command];
  }

  /**
   * Starts a server with its output in the file `log`; resolves with its pid when `ready` does with true, or, where
   * that is a path, when this UNIX socket takes connections.
   */
  async serve(command, ready, log) {
    const isReady = typeof ready === "string" ? () => accepts(ready) : ready;
    const output = openSync(log, "a");
    const child = spawn("taskset", this.#pinned(command), { env, stdio: ["ignore", output, output] });
    closeSync(output);
    this.#servers.add(child);
    const ended = new Promise((resolve) => {
      child.once("error", resolve);
      child.once("exit", (code, signal) => resolve(new Error(`it ended with ${signal ?? `exit code ${code}`}`)));
    });
    let failure;
    ended.then((reason) => {
      failure = reason;
      this.#servers.delete(child);
    });
    for (const deadline = Date.now() + START_MS; !(await isReady()); ) {
      if (failure === undefined && Date.now() > deadline) failure = new Error(`not ready after ${START_MS / 1000} s`);
      if (failure !== undefined) {
        const said = readFileSync(log, "utf8").trim().split("\n").slice(-20).join("\n");
        throw new Error(`${basename(log, ".log")} did not start: ${failure.message}\n${command.join(" ")}\n${said}`);
      }
      await delay(20);
      this.#signal.throwIfAborted();
    }
    return child.pid;
  }

  /** Runs a program to its end, for `timeout` milliseconds at most, and returns what it printed. */
  async run(command, timeout) {
    const options = { env, timeout, killSignal: "SIGKILL", signal: this.#signal };
    try {
      return (await promisify(execFile)("taskset", this.#pinned(command), options)).stdout;
    } catch (cause) {
      this.#signal.throwIfAborted();
      const why = cause.killed ? `it was stopped after ${Math.round(timeout / 1000)} s` : cause.stderr || cause.message;
      throw new Error(`${command.slice(0, 4).join(" ")} … failed: ${String(why).trim()}`, { cause });
    }
  }

  /** Ends every server: SIGTERM, and SIGKILL to those that are still there after a while. */
  async stop() {
    const end = async (child) => {
      const gone = once(child, "exit");
      child.kill("SIGTERM");
      const timer = setTimeout(() => child.kill("SIGKILL"), STOP_MS);
      await gone;
      clearTimeout(timer);
    };
    await Promise.all([...this.#servers].map(end));
  }
}

function accepts(socket) {
  return new Promise((resolve) => {
    const connection = connect(socket);
    connection.once("connect", () => {
      connection.destroy();
      resolve(true);
    });
    connection.once("error", () => resolve(false));
  });
}
