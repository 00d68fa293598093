/** What one client, and all together, may take from this process. */
export interface Limits {
  /** Connections of one address (of IPv6: one /64). */
  readonly connectionsPerAddress: number;
  readonly connections: number;
  /** Open streams of events. */
  readonly streamsPerAddress: number;
  readonly streams: number;
  /** Milliseconds until the headers of a request must be there, the first byte of a connection included. */
  readonly headersMs: number;
  /** Milliseconds without a byte until an idle connection is closed. A handshake of TLS may take as long in all. */
  readonly idleMs: number;
  /** Milliseconds for a client to read an answer that is no stream. More requests reset the idle time, not this. */
  readonly answerMs: number;
  /** Bytes that may wait for a client that does not read its stream. */
  readonly unreadBytes: number;
  /** Milliseconds between two pings of a stream: a proxy closes what is silent, and a page takes it for dead. */
  readonly pingMs: number;
}

export const limits: Limits = {
  connectionsPerAddress: 256,
  connections: 1024,
  streamsPerAddress: 128,
  streams: 384,
  headersMs: 5_000,
  idleMs: 15_000,
  answerMs: 60_000,
  unreadBytes: 1024 * 1024,
  pingMs: 10_000,
};
