/** What comes by TCP to a port of Minecraft: scans, queries of server lists, and players. Written by hand. */
import { hex, hexAndText, text } from "./bytes.ts";

/** Written anew for the tests: the length of each part is below 128, so a byte. */
const frame = (body: Buffer): Buffer => Buffer.concat([Buffer.of(body.length), body]);
const short = (value: string): Buffer => Buffer.concat([Buffer.of(value.length), text(value)]);
const wide = (value: string): Buffer =>
  Buffer.concat([Buffer.of(value.length >> 8, value.length & 255), Buffer.from(value, "utf16le").swap16()]);

/** A handshake of 1.20.4 (765); `next` is 1 for the status, 2 to log in, 3 to come from another server. */
export function handshake(next: number, host = "play.example"): Buffer {
  return frame(Buffer.concat([hex("00 fd05"), short(host), hex("63dd"), Buffer.of(next)]));
}

export function login(name: string): Buffer {
  return frame(Buffer.concat([hex("00"), short(name), Buffer.alloc(16, 7)]));
}

export const REQUEST: Buffer = hex("0100");
export const PING: Buffer = hex("0901 0102030405060708");

export const streamScans: Readonly<Record<string, Buffer>> = {
  "nmap -sS and -sT: nothing": hex(""),
  "nmap's generic lines": text("\r\n\r\n"),
  "HTTP, masscan --banners": text("GET / HTTP/1.0\r\nUser-Agent: masscan/1.3\r\nAccept: */*\r\n\r\n"),
  "HTTP to a proxy": text("CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n"),
  "RTSP, nmap": text("OPTIONS / RTSP/1.0\r\n\r\n"),
  "SIP, nmap": text("OPTIONS sip:nm SIP/2.0\r\n\r\n"),
  "TLS hello, zgrab": hex("160301007b010000770303aabbccdd"),
  "SSLv2 hello": hex("802e0100020015000000 10010080"),
  SSH: text("SSH-2.0-Go\r\n"),
  "RDP with a cookie": hexAndText("0300002b26e00000000000", "Cookie: mstshash=user\r\n"),
  "S7 connect": hex("0300001611e00000000500c1020100c2020200c0010a"),
  "SMB negotiate": hexAndText("00000054ff534d4272000000001801c8", "\x02NT LM 0.12\0"),
  "PostgreSQL asks for TLS": hex("0000000804d2162f"),
  "MongoDB isMaster": hexAndText("3f000000000000000000d40700000000", "admin.$cmd\0"),
  Redis: text("*1\r\n$4\r\nINFO\r\n"),
  memcached: text("stats\r\n"),
  SMTP: text("EHLO scanner\r\n"),
  FTP: text("USER anonymous\r\n"),
  "telnet options": hex("fffd03fffb18"),
  SOCKS4: hex("0401005001020304 00"),
  SOCKS5: hex("050100"),
  MQTT: hex("100c00044d51545404020000 0000"),
  AMQP: hex("414d515000000901"),
  "X11, nmap": hex("6c000b000000000000000000"),
  "Java RMI": hex("4a524d4900024b"),
  LDAP: hex("300c020101600702010304008000"),
  "DNS by TCP": hex("001e000601000001000000000000 0776657273696f6e0462696e640000100003"),
  "Kerberos, nmap": hex("00000071 6a816e30816ba103020105"),
  "Oracle TNS": hex("0057000001000000013901 2c"),
  Modbus: hex("000000000005 002b0e0100"),
  Bitcoin: hexAndText("f9beb4d9", "version\0\0\0\0\0"),
  "Source's rcon": hex("0a00000001000000030000000000"),
  "a handshake that wants to log in, and nothing after it": handshake(2),
  "a login without a name": Buffer.concat([handshake(2), login("")]),
  "a login with spaces in its name": Buffer.concat([handshake(2), login("a b")]),
  "a handshake that wants something unknown": Buffer.concat([handshake(7), login("Steve")]),
  "a handshake with bytes after its end": Buffer.concat([hex("0c 00 2f 00 63dd 01 000000000000"), REQUEST]),
  "a login without a handshake": login("Steve"),
  zeroes: Buffer.alloc(600),
  "one byte, 2": hex("02"),
  "a length that says more than may come": hex("ffffffff7f"),
};

export const streamQueries: Readonly<Record<string, Buffer>> = {
  "the list of a client": Buffer.concat([handshake(1), REQUEST]),
  "Shodan and zgrab": hex("0f002f096c6f63616c686f737463dd01 0100"),
  "a handshake alone": handshake(1),
  "a client of 1.6": Buffer.concat([
    hex("fe01fa"),
    ...[wide("MC|PingHost"), hex("0019 4e"), wide("localhost"), hex("000063dd")],
  ]),
  "a client of 1.4": hex("fe01"),
  "a client of 1.3": hex("fe"),
};

export const streamJoins: Readonly<Record<string, Buffer>> = {
  "a client of 1.20": Buffer.concat([handshake(2), login("Steve")]),
  "a client that comes from another server": Buffer.concat([handshake(3), login("Alex_99")]),
  "a client with Forge": Buffer.concat([handshake(2, "localhost\0FML2\0"), login("Steve")]),
  "a client of 1.5": Buffer.concat([hex("023d"), wide("Steve"), wide("localhost"), hex("000063dd")]),
  "a client of 1.2": Buffer.concat([hex("02"), wide("Steve;localhost:25565")]),
};
