/** What is read of a container process state. */
import { expect, it } from "vitest";
import { readContainerState } from "../../src/oci/container-state.ts";

/** What runc 1.1.5 sends. */
const sent = {
  ociVersion: "1.0.2-dev",
  fds: ["seccompFd"],
  pid: 10139,
  metadata: "arena",
  state: { ociVersion: "1.0.2-dev", id: "t1", status: "creating", pid: 10139, bundle: "/srv/b" },
};
const read = { id: "t1", byExec: false, pid: 10139, berth: "arena", listener: 0 };

it("is read as a runtime sends it", () => {
  expect(readContainerState(sent, 1)).toEqual(read);
});

it.each<[string, object, number, object]>([
  ["other descriptors beside the listener", { fds: ["other", "seccompFd"] }, 2, { listener: 1 }],
  ["a process that exec has started", { pid: 7 }, 1, { byExec: true, pid: 7, init: 10139 }],
  [
    "one of runc 1.1.5",
    { pid: 7, state: { id: "t1", status: "running", pid: 10139 } },
    1,
    { byExec: true, pid: 7, init: 10139 },
  ],
  [
    "one of crun 1.8.1",
    { pid: 0, state: { id: "t1", status: "running", pid: 0 } },
    1,
    { byExec: true, pid: undefined, init: undefined },
  ],
  ["a container whose first process is not named", { state: { id: "t1" } }, 1, {}],
  ["the longest id, whole", { state: { id: "x".repeat(1024), pid: 10139 } }, 1, { id: "x".repeat(1024) }],
  ["the longest name of a berth", { metadata: "x".repeat(255) }, 1, { berth: "x".repeat(255) }],
  ["the largest pid", { pid: 4194304, state: { id: "t1" } }, 1, { pid: 4194304 }],
])("%s", (_, change, came, result) => {
  expect(readContainerState({ ...sent, ...change }, came)).toEqual({ ...read, ...result });
});

const namesBerth = "it names no berth; write listenerMetadata = the berth's name into the seccomp profile";

it.each<[string, object, number, string]>([
  ["no descriptor", {}, 0, "it names 1 descriptors, and 0 came with it"],
  ["two descriptors", {}, 2, "it names 1 descriptors, and 2 came with it"],
  ["two listeners", { fds: ["seccompFd", "seccompFd"] }, 2, "its fds must name one descriptor seccompFd"],
  ["no listener", { fds: ["other"] }, 1, "its fds must name one descriptor seccompFd"],
  ["no list of descriptors", { fds: "seccompFd" }, 1, "it has no fds"],
  ["no pid", { pid: undefined }, 1, "its pid is no process number"],
  ["a pid that is text", { pid: "10139" }, 1, "its pid is no process number"],
  ["a pid that is no integer", { pid: 1.5 }, 1, "its pid is no process number"],
  ["pid 0", { pid: 0 }, 1, "its pid is no process number"],
  ["a pid above the largest", { pid: 4194305 }, 1, "its pid is no process number"],
  ["no state", { state: null }, 1, "it has no state.id"],
  ["a state that is a list", { state: [] }, 1, "it has no state.id"],
  ["an id that is too long", { state: { id: "x".repeat(1025) } }, 1, "its state.id has more than 1024 characters"],
  ["an empty id", { state: { id: "" } }, 1, "it has no state.id"],
  ["no metadata", { metadata: undefined }, 1, namesBerth],
  ["empty metadata", { metadata: "" }, 1, namesBerth],
  ["metadata that is an object", { metadata: {} }, 1, namesBerth],
  ["a name that is too long", { metadata: "x".repeat(256) }, 1, namesBerth],
])("is refused with %s", (_, change, came, why) => {
  expect(readContainerState({ ...sent, ...change }, came)).toBe(why);
});
