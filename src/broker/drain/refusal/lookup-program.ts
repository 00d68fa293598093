/**
 * The program that the kernel runs when it looks for the listening socket of a new connection (BPF_PROG_TYPE_SK_LOOKUP,
 * Documentation/bpf/prog_sk_lookup.rst). It chooses the socket that a map has for the address of the connection; if
 * there is none, the kernel looks as ever. It runs after the firewall, and never for an open connection. Pure.
 */
import { AF_INET, encodeSockaddr, familyNumber, type InetAddress } from "../../../net/address.ts";
import { HELPERS, Program, type Register } from "../../../net/bpf-program.ts";
import { IPPROTO_TCP } from "../../../net/socket-constants.ts";

/** The map's key: the address in 16 bytes, of IPv4 in the first four; the port and the family in 32 bits each. */
export const KEY_BYTES = 24;
const KEY = { host: 0, port: 16, family: 20 } as const;
const HOST_WORDS = [0, 4, 8, 12] as const;

/** struct bpf_sk_lookup (linux/bpf.h): the port is in the machine's order, addresses are in the network's. */
const CONTEXT = { family: 8, protocol: 12, localIp4: 40, localIp6: 44, localPort: 60 } as const;
/** The kernel takes the socket that was chosen, or looks for one. */
const SK_PASS = 1;

const CONNECTION: Register = 6;
const CHOSEN: Register = 7;
const STACK_END: Register = 10;
const KEY_AT = -KEY_BYTES;

/** Where a map has the socket for connections to an address, or to all addresses: 0.0.0.0 or ::. */
export function keyOf(address: InetAddress): Uint8Array {
  const key = Buffer.alloc(KEY_BYTES);
  const sockaddr = encodeSockaddr(address);
  // sin_addr, sin6_addr (ip(7), ipv6(7)).
  if (address.family === "ipv4") sockaddr.copy(key, KEY.host, 4, 8);
  else sockaddr.copy(key, KEY.host, 8, 24);
  key.writeUInt32LE(address.port, KEY.port);
  key.writeUInt32LE(familyNumber(address), KEY.family);
  return key;
}

/** The program for a map, by its descriptor. */
export function lookupProgram(map: number): Uint8Array {
  const program = new Program()
    .copy(CONNECTION, 1)
    .load(4, 2, CONNECTION, CONTEXT.protocol)
    .jumpIf(2, "unequal", IPPROTO_TCP, "as ever");
  writeKey(program);
  lookUp(program, map);
  program.jumpIf(0, "unequal", 0, "found");
  clearHost(program);
  lookUp(program, map);
  program.jumpIf(0, "equal", 0, "as ever").label("found");
  choose(program);
  return program.label("as ever").set(0, SK_PASS).exit().encode();
}

/** On the stack: where the connection goes. */
function writeKey(program: Program): void {
  const copy = (from: number, to: number): void => {
    program.load(4, 2, CONNECTION, from).store(4, STACK_END, KEY_AT + to, 2);
  };
  copy(CONTEXT.localPort, KEY.port);
  clearHost(program);
  copy(CONTEXT.family, KEY.family);
  program.jumpIf(2, "equal", AF_INET, "IPv4");
  for (const word of HOST_WORDS) copy(CONTEXT.localIp6 + word, KEY.host + word);
  program.jump("written").label("IPv4");
  copy(CONTEXT.localIp4, KEY.host);
  program.label("written");
}

function clearHost(program: Program): void {
  for (const word of HOST_WORDS) program.storeNumber(4, STACK_END, KEY_AT + KEY.host + word, 0);
}

/** r0: the socket under the key, or 0. */
function lookUp(program: Program, map: number): void {
  program.map(1, map).copy(2, STACK_END).compute(2, "add", KEY_AT).call(HELPERS.mapLookup);
}

/** The socket in r0. The kernel refuses one of another family; then it looks as ever. */
function choose(program: Program): void {
  program.copy(CHOSEN, 0).copy(1, CONNECTION).copy(2, CHOSEN).set(3, 0).call(HELPERS.assignSocket);
  program.copy(1, CHOSEN).call(HELPERS.releaseSocket);
}
