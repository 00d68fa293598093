/** A lease of this process, without a broker. */
import { Lease } from "../../src/broker/berths/berth/lease.ts";
import { TenantProcess } from "../../src/broker/berths/berth/tenant-process.ts";
import { check } from "../../src/errors.ts";
import { FdHandle } from "../../src/fd.ts";
import { native } from "../../src/native.ts";

export function ownLease(): Lease {
  const pidfd = FdHandle.adopt(check("pidfd_open", native.pidfdOpen(process.pid)));
  const tenant = { pid: process.pid, uid: 0, unit: undefined };
  return new Lease(tenant, TenantProcess.watch(pidfd, native), () => undefined);
}
