/** Work that has to be cleaned up after when somebody presses Ctrl-C. */

const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/**
 * Runs something that ends in its own time once its signal is aborted, and then lets the process die of what
 * interrupted it, so that a shell sees it as interrupted.
 */
export async function interruptible<Result>(action: (signal: AbortSignal) => Promise<Result>): Promise<Result> {
  const controller = new AbortController();
  let caught: NodeJS.Signals | undefined;
  const stop = (signal: NodeJS.Signals): void => {
    caught ??= signal;
    controller.abort();
  };
  for (const signal of signals) process.on(signal, stop);
  try {
    return await action(controller.signal);
  } finally {
    for (const signal of signals) process.off(signal, stop);
    if (caught !== undefined) process.kill(process.pid, caught);
  }
}
