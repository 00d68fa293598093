/** Which passed socket is for which configured address, and which of them fit none although they have its name. */
import type { Native } from "../../native.ts";
import { formatListenAddress, type ListenAddress } from "../../net/address.ts";
import { keyHash } from "../record/stored-name.ts";
import { describePassed, fits, type PassedSocket, socketInode } from "./passed-socket.ts";
import type { SocketFailure } from "./socket-failure.ts";
import type { Wanted } from "./wanted.ts";

/**
 * Chooses a passed socket for each wanted one without a held one. In this order: an earlier broker's with the same
 * berth and name; any of an earlier broker with the same key; a .socket unit's with its name; a unit's with its
 * address, unless its name is another berth's.
 */
export function takePassed(wanted: readonly Wanted[], passed: readonly PassedSocket[], sys: Native): Set<PassedSocket> {
  const names = new Set(wanted.map(passedName));
  const taken = new Set<PassedSocket>();
  const places: readonly ((want: Wanted, passed: PassedSocket) => boolean)[] = [
    ({ berth, spec }, { stored }) => stored?.berth === berth && stored.socket === spec.name,
    (_, { stored }) => stored !== undefined,
    (want, { name }) => name === passedName(want),
    (_, { name }) => !names.has(name),
  ];
  if (passed.length === 0) return taken;
  const byPlace = placesOf(passed);
  for (const isPlace of places) {
    for (const want of wanted) {
      if (want.held !== undefined || want.passed !== undefined) continue;
      want.passed = byPlace(want).find(
        (one) => !taken.has(one) && isPlace(want, one) && fits(one, want.listen, want.spec.options, want.key, sys),
      );
      if (want.passed !== undefined) taken.add(want.passed);
    }
  }
  return taken;
}

/** Finds the passed sockets that may fit a wanted one, in their order, without comparing it with all others. */
function placesOf(passed: readonly PassedSocket[]): (want: Wanted) => readonly PassedSocket[] {
  const byPlace = new Map<string, PassedSocket[]>();
  for (const one of passed) {
    const { stored, is } = one;
    const place = stored === undefined ? (typeof is === "string" ? "" : placeOf(is)) : stored.hash;
    const list = byPlace.get(place);
    if (list === undefined) byPlace.set(place, [one]);
    else list.push(one);
  }
  const anyPort = passed.filter(({ stored }) => stored === undefined);
  return ({ listen, key }) => {
    const { address } = listen;
    const isAny = address.family !== "unix" && address.port === 0;
    return [...(byPlace.get(keyHash(key)) ?? []), ...(isAny ? anyPort : (byPlace.get(placeOf(listen)) ?? []))];
  };
}

/** What two addresses share if they may exclude each other. */
function placeOf({ kind, address }: ListenAddress): string {
  return address.family === "unix" ? `unix ${address.path}` : `${kind} ${address.port} ${address.host}`;
}

/** Its name in a .socket unit: FileDescriptorName=BERTH.SOCKET. */
function passedName({ berth, spec }: Wanted): string {
  return `${berth}.${spec.name}`;
}

/** Passed sockets with a wanted socket's name but another address or kind: one of the two must be corrected. */
export function misfits(wanted: readonly Wanted[], unclaimed: readonly PassedSocket[]): SocketFailure[] {
  if (unclaimed.length === 0) return [];
  const inodes = new Set(wanted.flatMap(({ passed }) => (passed === undefined ? [] : [socketInode(passed.handle.fd)])));
  const byName = new Map(wanted.map((want) => [passedName(want), want]));
  return unclaimed.flatMap((passed) => {
    const meant = byName.get(passed.name);
    // A unit's socket that is also in the store was taken from there.
    if (meant === undefined || inodes.has(socketInode(passed.handle.fd))) return [];
    const { berth, spec } = meant;
    const listens = spec.listen.map(formatListenAddress).join(", ");
    const problem = {
      ...meant.listen.origin,
      message: `berth ${berth}, socket ${spec.name}: the descriptor passed as ${passed.name} is ${describePassed(passed)}, and the socket is ${listens}`,
      remedy: "write the same address and kind here and in the .socket unit, where udp is ListenDatagram=",
    };
    return [{ berth, problem, cure: undefined }];
  });
}
