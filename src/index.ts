/// <reference types="node" preserve="true" />
/** What the package offers to programs. Everything exported here is API; docs/ and the declarations describe it. */
export type { PasswdEntry } from "./accounts.ts";
export {
  adviceOf as berthAdvice,
  commandOf as berthCommand,
  type ShownState as BerthStateWord,
  stateOf as berthState,
} from "./berth-state.ts";
export type { QuotaLimits, Resource as QuotaResource } from "./broker/access/limits/quota.ts";
export type {
  BerthState,
  BerthView,
  DescriptorView,
  DrainView,
  JoinsView,
  LeaseView,
  PlayersView,
  QueryView,
  RootView,
  SdkView,
  StartView,
  WaitView,
  WakeView,
} from "./broker/berths/berth/berth-view.ts";
export { Broker } from "./broker/broker.ts";
export type { BrokerOptions } from "./broker/broker-options.ts";
export type { StartLimits } from "./broker/demand/starter.ts";
export type { DrainLimits } from "./broker/drain/drain-step.ts";
export { Predecessor } from "./broker/restart/takeover-client.ts";
export { type AcquireOptions, acquire } from "./client/acquire.ts";
export {
  type BerthEventRecord,
  BrokerClient,
  type DrainOptions,
  type Metric,
  type MetricFamily,
  type PlayersReport,
  type Speech,
} from "./client/broker-client.ts";
export { type ConnectOptions, connect } from "./client/connect.ts";
export type { EntryType } from "./client/directory/entries.ts";
export type { OpenFlags } from "./client/directory/open-flags.ts";
export type {
  AppendFileOptions,
  CopyFileOptions,
  DirectoryEntry,
  FileData,
  ReaddirOptions,
  ReadFileOptions,
  ReadStreamOptions,
  RmOptions,
  StreamOptions,
  WriteFileOptions,
  WriteStreamOptions,
} from "./client/directory/options.ts";
export type { BeneathPath } from "./client/directory/path.ts";
export { DirectoryHandle } from "./client/directory-handle.ts";
export type { StashConnectionsOptions, StashedConnections } from "./client/handover/give.ts";
export type { TakeConnectionsOptions, TakenConnection, TakenConnections } from "./client/handover/take.ts";
export { Tenancy, type TenancyEvents, type TenancyOptions } from "./client/tenancy.ts";
export type { TenancyEvent } from "./client/tenancy-watch.ts";
export type { TenantDescriptor } from "./client/tenant-descriptor.ts";
export { tenantUser } from "./client/tenant-user.ts";
export type { SocketOptions } from "./config/keys/socket-options.ts";
export type {
  AsleepAs,
  AsleepProtocol,
  AsleepSpec,
  BerthSpec,
  BindSpec,
  Delivery,
  DrainMode,
  LeaseSpan,
  LimitSpec,
  OtherBinds,
  QuerySpec,
  RootSpec,
  RootState,
  SdkProtocol,
  SdkSpec,
  ServerSpec,
  Shift,
  SocketSpec,
  StartMode,
  TenantSpec,
  WakeMode,
} from "./config/keys/spec.ts";
export type { Origin, Problem } from "./config/toml/problem.ts";
export { BerthError, type ErrorCode, RefusedError, SysError } from "./errors.ts";
export { type Fd, FdHandle } from "./fd.ts";
export { FdChannel, FdMessage, recvFds, sendFds } from "./fd-channel.ts";
export { createLog, type Fields, type Level, type Log, type LogFormat } from "./log.ts";
export { type Address, formatAddress, type InetAddress, type ListenAddress, type UnixAddress } from "./net/address.ts";
export type { SocketKind } from "./net/transport.ts";
export type { Pool as RangePool, Range as IdRange } from "./rootfs/ranges/range.ts";
export type { Strategy as ShiftStrategy } from "./rootfs/roots/root.ts";
export { type ListenFdsOptions, listenFds, type PassedFd } from "./systemd/activation.ts";
export type { DescriptorStore, NotStored } from "./systemd/fd-store.ts";
export { type CallOptions, Reply, VarlinkClient } from "./varlink/client.ts";
export type { UnixConnectOptions } from "./varlink/connect.ts";
export type {
  Berth as BerthRecord,
  Descriptor as DescriptorRecord,
  Draining as DrainRecord,
  Lease as LeaseRecord,
  Players as PlayersRecord,
  Problem as ProblemRecord,
  Query as QueryRecord,
  Range as RangeRecord,
  Root as RootRecord,
  Sdk as SdkRecord,
  Start as StartRecord,
  Wait as WaitRecord,
  Wake as WakeRecord,
} from "./varlink/interfaces/io.berthd.Broker.types.ts";
export type { Parameters as VarlinkParameters } from "./varlink/message.ts";
export type { WaitOptions } from "./wait-options.ts";
