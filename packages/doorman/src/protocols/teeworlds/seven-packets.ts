/** The headers of packets of Teeworlds 0.7 (src/engine/shared/network.h). */

/** A control message, no acknowledgement, no chunk. A token of the receiver follows, then the kind. */
export const CONTROL: Buffer = Buffer.of(0x04, 0, 0);
/** A packet outside a connection, of version 1. The receiver's token follows, and the sender's. */
export const OUTSIDE = 0x21;
/** The receiver's token, of a sender who has none yet. */
export const NO_TOKEN: Buffer = Buffer.alloc(4, 0xff);
/** The kind of control message that asks for a token, or has one. */
export const TOKEN = 5;
