/** Counts from the kernel's own lists, for sockets of every form. */
import { describe, expect, it } from "vitest";
import { countSockets, readTables } from "../../../src/cli/top/socket-counts.ts";
import { processOf, useOf } from "../../../src/cli/top/usage.ts";
import { parseListenAddress } from "../../../src/net/address.ts";

const tcp = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:6D38 00000000:0000 0A 00000000:00000003 00:00000000 00000000 65534        0 1 1 0000000000000000 100 0 0 10 0
   1: 0100007F:6D39 00000000:0000 0A 00000000:00000000 00:00000000 00000000 65534        0 2 1 0000000000000000 100 0 0 10 0
   2: 0205A8C0:6D38 0305A8C0:D431 01 00000000:00000007 00:00000000 00000000 65534        0 3 1 0000000000000000 20 4 30 10 -1
   3: 0205A8C0:6D38 0305A8C0:D432 06 00000000:00000000 00:00000000 00000000     0        0 0 3 0000000000000000
   4: 0205A8C0:6D39 0305A8C0:D433 01 00000000:00000000 00:00000000 00000000     0        0 4 1 0000000000000000 20 4 30 10 -1
`;
const tcp6 = `  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000000000000000000000000000:6D3A 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 5 1 0000000000000000 100 0 0 10 0
   1: 0000000000000000FFFF00000205A8C0:6D3A 0000000000000000FFFF00000305A8C0:D434 01 00000000:00000000 00:00000000 00000000     0        0 6 1 0000000000000000 20 4 30 10 -1
`;
const udp = `   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  77: 0100007F:6D38 00000000:0000 07 00000000:00001200 00:00000000 00000000     0        0 7 2 0000000000000000 12
  78: 00000000:6D39 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 8 2 0000000000000000 0
`;
const udp6 = `  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  79: 00000000000000000000000001000000:6D38 00000000000000000000000000000000:0000 07 00000000:00000010 00:00000000 00000000     0        0 9 2 0000000000000000 1
`;

function count(...addresses: string[]) {
  const tables = readTables((name) => ({ tcp, tcp6, udp, udp6 })[name]);
  const sockets = addresses.map((text) => {
    const parsed = parseListenAddress(text);
    if (typeof parsed === "string") throw new Error(parsed);
    return parsed;
  });
  return countSockets(sockets, tables);
}

describe("the sockets of a berth", () => {
  const nothing = { connections: 0, backlog: 0, queue: 0, drops: 0 };

  it.each([
    [["tcp://0.0.0.0:27960"], { ...nothing, connections: 1, backlog: 3 }],
    [["tcp://127.0.0.1:27961"], nothing], // the connection is of another address
    [["tcp://192.168.5.2:27961"], { ...nothing, connections: 1 }],
    [["tcp://*:27962"], { ...nothing, connections: 1 }],
    [["udp://127.0.0.1:27960"], { ...nothing, queue: 0x1200, drops: 12 }],
    [["udp://0.0.0.0:27960"], nothing], // nobody has that address
    [["udp://[::1]:27960"], { ...nothing, queue: 16, drops: 1 }],
    [["unix:///run/x"], nothing],
    [
      ["udp://127.0.0.1:27960", "udp://[::1]:27960", "tcp://0.0.0.0:27960"],
      { connections: 1, backlog: 3, queue: 0x1210, drops: 13 },
    ],
  ])("%j", (addresses, counts) => {
    expect(count(...addresses)).toEqual(counts);
  });
});

it("what a server uses is that of its processes, of those they started, and of its session", () => {
  const stat = (pid: number, name: string, parent: number, session: number, ticks: number, pages: number): string =>
    `${pid} (${name}) S ${parent} ${pid} ${session} 0 -1 4194304 0 0 0 0 ${ticks} ${ticks} 0 0 20 0 1 0 100 1000000 ${pages} 0`;
  const processes = [
    stat(10, "a ) b", 1, 10, 50, 2),
    stat(11, "worker", 10, 10, 5, 1),
    stat(12, "further", 11, 12, 5, 1),
    stat(13, "in the background", 1, 10, 5, 1),
    stat(14, "another", 1, 14, 500, 100),
  ].flatMap((text) => processOf(text, 4096) ?? []);
  expect(processes).toHaveLength(5);
  expect(useOf(10, processes)).toEqual({ seconds: expect.closeTo(1.3), memory: 5 * 4096, processes: 4 });
  expect(useOf(12, processes)).toEqual({ seconds: expect.closeTo(0.1), memory: 4096, processes: 1 });
  expect(useOf(99, processes)).toBeUndefined();
  expect(processOf("", 4096)).toBeUndefined();
});
