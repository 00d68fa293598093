/** What a server may take of this process. It is another user's program. */

/** Bytes of one request. */
export const LONGEST_REQUEST: number = 64 * 1024;
/** Bytes of a watch that wait for a client that does not read. */
export const MOST_UNREAD: number = 2 ** 20;
/** Connections of one berth's server, for gRPC and for REST each. */
export const MOST_CONNECTIONS = 64;
/** The same with those of which nobody knows yet whose they are: a stranger's must leave room for the server's. */
export const MOST_ACCEPTED = 512;
