/**
 * What scanners, monitors and server lists send: the shapes of nmap's payloads and service probes, masscan, zgrab and
 * Shodan's modules. And what a player's client sends first. All of it is written by hand; none is a recording.
 */
import type { DatagramName } from "../../../packages/doorman/src/index.ts";
import { hex, hexAndText, text } from "./bytes.ts";

const outside = (value: string): Buffer => hexAndText("ffffffff", value);
const padded = (bytes: Buffer, length: number): Buffer => Buffer.concat([bytes, Buffer.alloc(length - bytes.length)]);

const MAGIC = "00ffff00fefefefefdfdfdfd12345678";

/** Datagrams of scans, which are no question to a game of ours. */
export const scans: Readonly<Record<string, Buffer>> = {
  "nothing at all": hex(""),
  "masscan without a payload": hex("00"),
  "MS-SQL's browser, nmap -sU 1434": hex("02"),
  "zeroes, as many as fit": Buffer.alloc(1400),
  "ones, as many as fit": Buffer.alloc(1400, 0xff),
  "DNS server status, nmap -sU 53": hex("00001000 00000000 00000000"),
  "DNS version.bind": hex("000601000001000000000000 0776657273696f6e0462696e640000100003"),
  "DNS ANY of isc.org": hex("1234010000010000000000010369736303 6f72670000ff0001 0000291000000000000000"),
  "mDNS services": hex("0000000000010000000000000 95f7365727669636573075f646e732d7364045f756470056c6f63616c00000c0001"),
  "RPC portmap, nmap -sU 111": padded(hex("72fe1d1300000000000000020001 86a00001977c"), 40),
  "NTP client, nmap -sU 123": padded(hex("e30004fa000100000001 0000"), 48),
  "NTP monlist": padded(hex("1700032a"), 8),
  "NetBIOS NBSTAT": hex(`80f00010000100000000000020434b${"41".repeat(30)}0000210001`),
  "SNMP v1 public": hex("302902010004067075626c6963a01c02044c33a7560201000201 00300e300c06082b060102010101000500"),
  "SNMP v3 engine": hex("303a020103300f02024a69020300ffe30401040201030410300e0400020100020100040004000400"),
  "XDMCP query": hex("00010002000100"),
  "IKE main mode, nmap -sU 500": padded(hex("00112233445566770000000000000000 01100200"), 192),
  "RIP request": hex("010100000000000000000000 000000000000000000000010"),
  "IPMI channel authentication": hex("0600ff0700000000000000000009 2018c88100388e04b5"),
  "OpenVPN reset": hex("38d67ae1f3c20a5b0d00000000 00"),
  "RADIUS access": hex("01000014 00000000000000000000000000000000"),
  "SSDP search": text('M-SEARCH * HTTP/1.1\r\nHost:239.255.255.250:1900\r\nMan:"ssdp:discover"\r\nST:ssdp:all\r\n\r\n'),
  "STUN binding": hex("000100002112a442 000102030405060708090a0b"),
  "SIP OPTIONS, nmap": text("OPTIONS sip:nm SIP/2.0\r\nVia: SIP/2.0/UDP nm;branch=foo\r\nFrom: <sip:nm@nm>\r\n\r\n"),
  "NAT-PMP": hex("0000"),
  "pcAnywhere status": text("ST"),
  "CoAP well-known": hex("4001 01ce bb2e77656c6c2d6b6e6f776e04636f7265"),
  "memcached stats": hexAndText("0001000000010000", "stats\r\n"),
  "VxWorks debugger": padded(hex("1a09faba00000000000000025555555500000001"), 60),
  "Quake 1 server info, nmap": hex("8000000c025155414b450003"),
  "Quake 1 connection request": hex("8000000c015155414b450003"),
  "Quake 2 status, nmap -sU 27910": outside("status"),
  "a master's getservers": outside("getservers 68 empty full"),
  "heartbeat to a master": outside("heartbeat QuakeArena-1\n"),
  "Quake III's connect, and nothing after it": outside("connect\n"),
  "rcon of Quake": outside('rcon "password" status'),
  "rcon's challenge of GoldSrc": outside("challenge rcon\n"),
  "Steam's discovery in the LAN": hex("ffffffff214c5fa008000000 0832a6b2c1e3f0010008000000 0801"),
  "half of an A2S question": outside("TSource Engine"),
  "another case of an A2S question": outside("TSOURCE ENGINE QUERY\0"),
  "Mumble's ping": hex("000000000102030405060708"),
  "TeamSpeak 3": Buffer.concat([text("TS3INIT1"), hex("00650000880ec967a500 5e0c 48a6 000000000000000000")]),
  "TeamSpeak 2, nmap": padded(hex("f4be03000000000000000000010000003278ba85"), 180),
  "BitTorrent DHT ping": text("d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe"),
  "uTP SYN": hex("4100 a1b20000000000000000 00100000 3e8f0000"),
  "DTLS hello": hex(
    "16feff000000000000000000360100002a000000000000002afefd000000007c77401e8ac822a0a018ff9308caac0a642f",
  ),
  "QUIC, a version that does not exist": padded(hex("c0babababa08 0001020304050607 08 0706050403020100"), 1200),
  "CLDAP root": hex(
    "30840000002d02010163840000002404000a01000a0100020100020100010100870b6f626a656374436c617373308400000000",
  ),
  "Ubiquiti's discovery": hex("01000000"),
  "WS-Discovery": text('<?xml version="1.0"?><s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"/>'),
  "L2TP control": hex("c802003c0000000000000000 8008000000000001"),
  "BACnet read property": hex("810a001101040005010c0c023fffff194b"),
  "TFTP read": hexAndText("0001", "/etc/passwd\0octet\0"),
  "WireGuard's initiation": padded(hex("01000000d2f1a0c3"), 148),
  "GameSpy's query, Minecraft's too": hex("fefd09 00000001"),
  "Unreal status": text("\\status\\"),
  "All-Seeing Eye": text("s"),
  "San Andreas query": Buffer.concat([text("SAMP"), hex("7f000001611e69")]),
  "Minetest's first": hex("4f457403000000010003 00"),
  "Ventrilo status": hex("0127b6b48f0bb9d5fba9d2a5f3e5c6d4"),
  "Kerberos AS-REQ": hex("6a816e30816ba103020105a20302010aa4815e305ca00703050050800010a2041b024e4d"),
  "HTTP by UDP": text("GET / HTTP/1.0\r\n\r\n"),
  "EtherNet/IP identity": hex("6300000000000000000000000000000000000000 00000000"),
  "RakNet's magic too early": hex(`01${MAGIC}`),
  "RakNet's first request without its padding": hex(`05${MAGIC}0b`),
  "a RakNet packet of a player whose server has ended": hex("840000006000 9000000009 0000"),
  "Teeworlds 0.6 close": hex("10000004"),
  "Teeworlds 0.7 keep-alive": hex("040000 01020304 00"),
  "Teeworlds 0.7 token request without its padding": hex("040000ffffffff05 62657274"),
  "Teeworlds 0.7 connect without a token": padded(hex("040000ffffffff01 62657274"), 520),
  "Teeworlds server count of a master": Buffer.concat([Buffer.alloc(6, 0xff), outside("cou2")]),
};

/** Status queries, and which protocol has to know them. */
export const queries: Readonly<Record<string, { readonly of: DatagramName; readonly bytes: Buffer }>> = {
  "A2S info, nmap -sU 27015": { of: "a2s", bytes: outside("TSource Engine Query\0") },
  "A2S info with a challenge": { of: "a2s", bytes: outside("TSource Engine Query\0abcd") },
  "A2S players": { of: "a2s", bytes: hex("ffffffff55ffffffff") },
  "A2S rules": { of: "a2s", bytes: hex("ffffffff56ffffffff") },
  "A2S challenge": { of: "a2s", bytes: hex("ffffffff57") },
  "GoldSrc details": { of: "a2s", bytes: outside("details\0") },
  "Quake III status, nmap -sU 27960": { of: "quake3", bytes: outside("getstatus\n") },
  "Quake III status of gamedig": { of: "quake3", bytes: outside("getstatus\0") },
  "Quake III info of a list": { of: "quake3", bytes: outside("getinfo xxx") },
  "Bedrock's ping, Shodan": { of: "bedrock", bytes: hex(`010000000000 0003e8${MAGIC}0000000000000002`) },
  "Bedrock's ping without a GUID": { of: "bedrock", bytes: hex(`01000000000000 03e8${MAGIC}`) },
  "RakNet's ping for open servers": { of: "bedrock", bytes: hex(`020000000000 0003e8${MAGIC}0000000000000002`) },
  "Teeworlds 0.6 info": { of: "teeworlds", bytes: Buffer.concat([Buffer.alloc(6, 0xff), outside("gie3"), hex("2a")]) },
  "DDNet info": { of: "teeworlds", bytes: Buffer.concat([hex("7865 0102 0000"), outside("gie3"), hex("2a")]) },
  "Teeworlds 0.7 token": { of: "teeworlds", bytes: padded(hex("040000ffffffff05 62657274"), 520) },
  "Teeworlds 0.7 info": {
    of: "teeworlds",
    bytes: Buffer.concat([hex("21 01020304 62657274"), outside("gie3"), hex("00")]),
  },
};

/** The first packets of players. */
export const joins: Readonly<Record<string, { readonly of: DatagramName; readonly bytes: Buffer }>> = {
  "Source 2013": { of: "a2s", bytes: hexAndText("ffffffff71 01020304", "0000000000\0") },
  "Source, later": { of: "a2s", bytes: outside("qconnect0x0A1B2C3D\0") },
  "Source, the second packet": {
    of: "a2s",
    bytes: hexAndText("ffffffff6b 18000000 03000000 01020304 05060708", "Player\0\0"),
  },
  GoldSrc: { of: "a2s", bytes: outside("getchallenge steam\n") },
  "GoldSrc, the second packet": { of: "a2s", bytes: outside('connect 48 123456 "\\prot\\3"') },
  ioquake3: { of: "quake3", bytes: outside('getchallenge 12345 "Quake3Arena"') },
  "Quake III of 1999": { of: "quake3", bytes: outside("getchallenge") },
  "Quake III, the second packet": { of: "quake3", bytes: outside('connect "\\challenge\\1\\qport\\2"') },
  Bedrock: { of: "bedrock", bytes: padded(hex(`05${MAGIC}0b`), 1464) },
  "Bedrock behind a small link": { of: "bedrock", bytes: padded(hex(`05${MAGIC}0b`), 548) },
  "Bedrock, the second packet": { of: "bedrock", bytes: hex(`07${MAGIC}04f5fffffe4abc 0578 0000000000000002`) },
  "Teeworlds 0.6": { of: "teeworlds", bytes: hex("10000001") },
  DDNet: { of: "teeworlds", bytes: Buffer.concat([hex("10000001"), text("TKEN"), hex("ffffffff")]) },
  "Teeworlds 0.7": { of: "teeworlds", bytes: padded(hex("040000 01020304 01 62657274"), 520) },
};
