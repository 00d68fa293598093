/** Who a client is, for a limit: one that has an IPv6 address mostly has a whole /64. */
import { isIPv6 } from "node:net";

/** The IPv4 address, or the first 64 bits of the IPv6 address. */
export function networkOf(address: string): string {
  const ipv4 = /^::ffff:([\d.]+)$/i.exec(address)?.[1];
  if (ipv4 !== undefined || !isIPv6(address)) return ipv4 ?? address;
  const [head = "", tail = ""] = address.split("::");
  const first = groupsOf(head);
  const last = groupsOf(tail);
  const zeros = new Array<string>(Math.max(0, 8 - first.length - last.length)).fill("0");
  return [...first, ...zeros, ...last].slice(0, 4).join(":");
}

function groupsOf(text: string): string[] {
  return text === "" ? [] : text.split(":");
}
