/**
 * What an OCI runtime tells a seccomp agent of a container: the "container process state" of the runtime specification,
 * one JSON object, with the seccomp listener beside it. Pure.
 */

/** A process that a runtime has put under a filter: the first one of a container, or one that `exec` started in it. */
export type ContainerState = FilteredProcess & (FirstProcess | ExecProcess);

interface FilteredProcess {
  /** The container's id. */
  readonly id: string;
  /** The `listenerMetadata` of the seccomp profile: which berth it is for. */
  readonly berth: string;
  /** Which of the descriptors is the seccomp listener. */
  readonly listener: number;
}

interface FirstProcess {
  readonly byExec: false;
  /** As the runtime sees it. */
  readonly pid: number;
}

interface ExecProcess {
  readonly byExec: true;
  /** As the runtime sees it. crun does not tell it. */
  readonly pid: number | undefined;
  /** The first process of the container. Nor this. */
  readonly init: number | undefined;
}

/** The name of the listener in `fds`. */
const LISTENER = "seccompFd";
/** The status of a container in which `exec` starts something. A container that is being started has another one. */
const RUNNING = "running";
/** A pid, as long as Linux allows it to be. */
const MAX_PID = 2 ** 22;
/** Characters of an id, as runc allows them, and of a berth's name. */
const MAX_ID = 1024;
const MAX_NAME = 255;

/** Reads a decoded state, which came with so many descriptors; or a sentence says what is wrong with it. */
export function readContainerState(state: Readonly<Record<string, unknown>>, came: number): ContainerState | string {
  const { fds, pid, metadata } = state;
  const container = isRecord(state["state"]) ? state["state"] : {};
  const { id, pid: init, status } = container;
  if (typeof id !== "string" || id === "") return "it has no state.id";
  if (id.length > MAX_ID) return `its state.id has more than ${MAX_ID} characters`;
  const isUnknown = pid === 0 && status === RUNNING;
  if (!isUnknown && !isPid(pid)) return "its pid is no process number";
  if (!Array.isArray(fds)) return "it has no fds";
  if (fds.length !== came) return `it names ${fds.length} descriptors, and ${came} came with it`;
  const listener = fds.indexOf(LISTENER);
  if (listener < 0 || fds.lastIndexOf(LISTENER) !== listener) return `its fds must name one descriptor ${LISTENER}`;
  if (typeof metadata !== "string" || metadata === "" || metadata.length > MAX_NAME)
    return "it names no berth; write listenerMetadata = the berth's name into the seccomp profile";
  const all = { id, berth: metadata, listener };
  const isFirst = status !== RUNNING && (init === pid || !isPid(init));
  if (isFirst && isPid(pid)) return { ...all, byExec: false, pid };
  return { ...all, byExec: true, pid: isPid(pid) ? pid : undefined, init: isPid(init) ? init : undefined };
}

function isPid(value: unknown): value is number {
  return typeof value === "number" && Number.isInteger(value) && value > 0 && value <= MAX_PID;
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
