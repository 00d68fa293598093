/** Teeworlds: its version 0.7, and 0.6 with DDNet. One port serves one of them, so both are understood. */
import type { Answer, Challenge, DatagramProtocol, Kind, SleepingServer } from "../../protocol.ts";
import { TeeworldsInquiry } from "./inquiry.ts";
import { answerSeven, classifySeven, refuseSeven } from "./seven.ts";
import { answerSix, classifySix } from "./six.ts";

/** The query of 0.6 has no challenge; that of 0.7 has one. */
export const teeworlds: DatagramProtocol = {
  name: "teeworlds",
  isChallenged: false,
  classify,
  answer,
  // The connect of 0.6 has 4 bytes, or 12: no text is that short.
  refuse: refuseSeven,
  inquire: (nonce) => new TeeworldsInquiry(nonce),
};

function classify(packet: Uint8Array): Kind {
  const seven = classifySeven(packet);
  return seven === "other" ? classifySix(packet) : seven;
}

function answer(packet: Uint8Array, server: SleepingServer, challenge: Challenge): Answer | undefined {
  return answerSeven(packet, server, challenge) ?? answerSix(packet, server);
}
