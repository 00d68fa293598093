/** What the package offers to programs. Everything exported here is API; docs/ and the declarations describe it. */
export { type Address, formatAddress, type InetAddress, type UnixAddress } from "./address.ts";
export type { BerthState, BerthView, DescriptorView, LeaseView } from "./broker/berths/berth.ts";
export { Broker } from "./broker/broker.ts";
export type { BrokerOptions } from "./broker/broker-options.ts";
export { Predecessor } from "./broker/restart/takeover-client.ts";
export { type AcquireOptions, acquire } from "./client/acquire.ts";
export { type ConnectOptions, connect } from "./client/connect.ts";
export type { EntryType } from "./client/directory/entries.ts";
export type { OpenFlags } from "./client/directory/open-flags.ts";
export type {
  DirectoryEntry,
  ReaddirOptions,
  ReadFileOptions,
  ReadStreamOptions,
  RmOptions,
  WriteFileOptions,
  WriteStreamOptions,
} from "./client/directory/options.ts";
export type { BeneathPath } from "./client/directory/path.ts";
export { DirectoryHandle } from "./client/directory-handle.ts";
export { Tenancy, type TenantDescriptor } from "./client/tenancy.ts";
export type { Problem } from "./config/problem.ts";
export type { BerthSpec } from "./config/spec.ts";
export { BerthError, type ErrorCode, RefusedError, SysError } from "./errors.ts";
export { type Fd, FdHandle } from "./fd.ts";
export { FdChannel, FdMessage, recvFds, sendFds, type WaitOptions } from "./fd-channel.ts";
export { createLog, type Fields, type Level, type Log, type LogFormat } from "./log.ts";
export { type ListenFdsOptions, listenFds, type PassedFd } from "./systemd/activation.ts";
export type { SocketKind } from "./transport.ts";
export { type CallOptions, Reply, VarlinkClient } from "./varlink/client.ts";
