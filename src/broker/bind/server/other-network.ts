/**
 * Binds of processes that have left the network namespace in which their server was started, such as containers that it
 * starts. A socket of the berth would be reachable from outside there, and not from inside.
 */
import type { BindReport } from "../../../native-interceptor.ts";
import { networkCookie } from "../../../net/socket-queries.ts";
import type { ForeignCalls } from "../../access/foreign-calls.ts";

/** `launched`: where the server was started, if that is known. */
export function isInOtherNetwork({ network }: BindReport, launched: number | undefined): boolean {
  return launched !== undefined && network !== launched;
}

/** Whether two sockets are in two network namespaces. False where the kernel does not tell. */
export function areApart(one: number, other: number, sys: ForeignCalls): boolean {
  const first = networkCookie(one, sys);
  const second = networkCookie(other, sys);
  return first !== undefined && second !== undefined && first !== second;
}

/** For the log. */
export function describeElsewhere(pid: number, asked: string): string {
  return `pid ${pid} of its server bound ${asked} in another network namespace than it was started in, and got no socket of the berth; to serve from there, set server.any-namespace = true`;
}
