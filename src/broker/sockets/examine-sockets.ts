/**
 * Asks passed sockets for what takes their locks to tell, in the guard: a tenant may hold them. All are asked at once.
 * One that does not answer in time costs the others nothing: the broker takes it as far as it knows it.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { type Address, decodeSockaddr, isUdp, type ListenAddress } from "../../net/address.ts";
import { IPPROTO_IPV6, IPV6_V6ONLY, SO_TIMESTAMP, SO_TIMESTAMPNS, SOL_SOCKET } from "../../net/socket-constants.ts";
import type { Owner } from "../guard/guard.ts";
import { type PlansGuard, runAllGuarded } from "../plans/guarded-plan.ts";
import { type OptionState, readState, stateCalls } from "../plans/option-state.ts";
import type { SocketCall, SocketPlan } from "../plans/socket-call.ts";
import { type PassedSocket, socketInode } from "./passed-socket.ts";

/** How long a start waits for them, twice: for all together, then for each that has not answered. */
const ANSWER_MS = 500;

/** What a socket has told. */
interface Answer {
  readonly address: Address | undefined;
  readonly dualStack: boolean;
  readonly given: OptionState;
}

/** The same sockets in the same order, each with what it told. It owns nothing. */
export async function examineSockets(
  passed: readonly PassedSocket[],
  guard: PlansGuard,
): Promise<readonly PassedSocket[]> {
  const answers = new Map<PassedSocket, Answer>();
  const ask = async (some: readonly PassedSocket[], owner: Owner): Promise<void> => {
    const planned = some.flatMap((one) =>
      typeof one.is === "string"
        ? []
        : [{ fd: () => fdOf(one), plan: asking(one.is, (answer) => answers.set(one, answer)) }],
    );
    await runAllGuarded(planned, guard, owner);
  };
  const left = (): readonly PassedSocket[] => passed.filter((one) => hasToTell(one) && !answers.has(one));
  if (left().length === 0) return passed;
  const limited = async (work: Promise<unknown>): Promise<void> => {
    const limit = new AbortController();
    await Promise.race([work, sleep(ANSWER_MS, undefined, { signal: limit.signal }).catch(() => undefined)]);
    limit.abort();
  };
  await limited(ask(left(), "broker"));
  // Each in a process of its own.
  await limited(Promise.all(left().map((one) => ask([one], `socket ${socketInode(one.handle.fd)}`))));
  return passed.map((one) => {
    const answer = answers.get(one);
    if (answer !== undefined) return told(one, answer);
    return hasToTell(one) ? { ...one, isMute: true } : one;
  });
}

/** One of a unit has come with options of its own. Of one of ours nothing is missing but a port that is not listed. */
function hasToTell({ is, stored }: PassedSocket): boolean {
  if (typeof is === "string") return false;
  const isUnits = stored === undefined || stored.path === "foreign";
  return isUnits || (is.address.family !== "unix" && is.address.port === 0);
}

function* asking(is: ListenAddress, tell: (answer: Answer) => void): SocketPlan<void> {
  const v6only: SocketCall = { call: "getsockopt", level: IPPROTO_IPV6, option: IPV6_V6ONLY, words: 1 };
  const [name, only, ...state] = yield [{ call: "getsockname" }, v6only, ...stateCalls(is)];
  if (isUdp(is)) yield* stamping();
  const bytes = name === undefined || name.result < 0 ? undefined : new Uint8Array(name.value.buffer, 0, name.result);
  tell({
    address: bytes && decodeSockaddr(bytes),
    dualStack: is.address.family === "ipv6" && only?.value[0] === 0,
    given: readState(state),
  });
}

/**
 * Has the kernel note when datagrams come, as it does for sockets that berthd opened (open-socket.ts). Otherwise the
 * first look at the time would take the lock, on the broker's own thread. The option stays as it is: the kernel goes on
 * noting the time once it has been set (sock_set_timestamp, net/core/sock.c).
 */
function* stamping(): SocketPlan<void> {
  const read = [SO_TIMESTAMP, SO_TIMESTAMPNS].map(
    (option): SocketCall => ({ call: "getsockopt", level: SOL_SOCKET, option, words: 1 }),
  );
  const set = (value: number): SocketCall => ({ call: "setsockopt", level: SOL_SOCKET, option: SO_TIMESTAMP, value });
  const seen = yield read;
  if (seen.every(({ value }) => value[0] === 0)) yield [set(1), set(0)];
}

function told(one: PassedSocket, { address, dualStack, given }: Answer): PassedSocket {
  const { is, stored } = one;
  const isUnits = stored === undefined || stored.path === "foreign";
  if (typeof is === "string") return one;
  return { ...one, is: { ...is, address: address ?? is.address, dualStack }, ...(isUnits && { given }) };
}

function fdOf({ handle }: PassedSocket): number | undefined {
  return handle.open ? handle.fd : undefined;
}
