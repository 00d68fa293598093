/** The address that a server asks for in bind(2). Pure. */
import { constants } from "node:os";
import { type Address, AF_INET, AF_UNIX, decodeSockaddr } from "../../../net/address.ts";

const { EAFNOSUPPORT, EINVAL } = constants.errno;

/** The address, or the errno that the kernel would return. */
export function addressOf(sockaddr: Uint8Array, domain: number): Address | number {
  if (sockaddr.length < (domain === AF_UNIX ? 2 : domain === AF_INET ? 16 : 24)) return EINVAL;
  // Old programs write AF_UNSPEC for the any address of AF_INET (ip(7)).
  const bytes = Buffer.from(sockaddr);
  const family = bytes.readUInt16LE(0);
  if (domain === AF_INET && family === 0 && bytes.readUInt32BE(4) === 0) bytes.writeUInt16LE(AF_INET, 0);
  else if (family !== domain) return domain === AF_UNIX ? EINVAL : EAFNOSUPPORT;
  return decodeSockaddr(bytes) ?? EINVAL;
}
