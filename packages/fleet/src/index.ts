/** What the package offers to programs: records of a fleet, and the decision which host gets a berth. */
export type { TlsFiles } from "./etcd/channel.ts";
export { type Committed, Compacted, type Etcd, EtcdClient, type Snapshot } from "./etcd/etcd.ts";
export { type Followed, follow } from "./etcd/follow.ts";
export type { Change, Condition, Entry, KeyEvent, Range } from "./etcd/messages.ts";
export { Fault, type FaultCode } from "./fault.ts";
export { type Allocated, type AllocateOptions, allocate, release } from "./fleet/allocation/allocate.ts";
export { MOST_EVENTS, readEvents } from "./fleet/events.ts";
export { type BerthExplanation, explainBerth } from "./fleet/explain-berth.ts";
export { Fleet, type Outcome } from "./fleet/fleet.ts";
export { cordonHost, uncordonHost } from "./fleet/moves/cordon.ts";
export { type Drained, type DrainOptions, drainHost } from "./fleet/moves/drain.ts";
export { type Moved, type MoveOptions, moveBerth } from "./fleet/moves/move.ts";
export type { BerthRow, HostRow } from "./fleet/rows.ts";
export type { FleetView, Kept } from "./fleet/view.ts";
export { type FleetChange, watchFleet } from "./fleet/watch.ts";
export {
  type BerthSet,
  berthSet,
  type OnLost,
  type Strategy,
  type WantedImage,
  writeBerthSet,
} from "./model/berth-set.ts";
export type { EventKind, FleetEvent } from "./model/event.ts";
export { fromJson, type Json, type JsonObject, type Reader } from "./model/fields.ts";
export { type HostImage, type HostRecord, hostRecord } from "./model/host.ts";
export type { ImageFetch, ImageSource } from "./model/image-fetch.ts";
export { type Key, Keys } from "./model/keys.ts";
export { berthOf } from "./model/names.ts";
export {
  type Allocation,
  type Assignment,
  allocation,
  assignment,
  type Booking,
  type Bookings,
  bookings,
  NO_BOOKINGS,
  type Placement,
  placement,
} from "./model/placement.ts";
export { type PortRange, parsePortRange } from "./model/ports.ts";
export { withPorts } from "./model/socket-ports.ts";
export { type Decision, decide, type Verdict } from "./placement/decide.ts";
export { type Explanation, explain } from "./placement/explain.ts";
export type { Misfit } from "./placement/filter.ts";
export type { ImageLack } from "./placement/images.ts";
export { type HostView, type Need, type NeededImage, needOf } from "./placement/need.ts";
export { missing, type Planned, plan } from "./placement/plan.ts";
export type { Criterion, Score } from "./placement/rank.ts";
