/** The addon's object that answers the bind(2) calls of one server (seccomp_unotify(2)). Types only. */

/** One bind(2) that a server is waiting in. */
export interface BindReport {
  /** The server's process and thread, in the broker's PID namespace. */
  readonly pid: number;
  readonly thread: number;
  /** The socket's number in the server. */
  readonly fd: number;
  /**
   * A positive errno when the server could not be looked at; then the rest is empty. ETIMEDOUT: its memory did not come
   * in time.
   */
  readonly error: number;
  /** An earlier process received it, and may have done what it asks for, but for the answer. */
  readonly recalled: boolean;
  /** A duplicate of the server's socket, borrowed until the answer. */
  readonly socket: number;
  /** -1, or a descriptor that is no socket. Who gets the report owns it: to close it may wait. */
  readonly stray: number;
  /** The inode of its thread's network namespace; 0 where the kernel does not tell. */
  readonly network: number;
  /** The number of the question that was asked of its socket, and the results; -1 and nothing: see inquire. */
  readonly question: number;
  readonly state: Uint8Array;
  /** A copy of the `struct sockaddr` it asked for. */
  readonly sockaddr: Uint8Array;
}

/**
 * Some of the epolls of a server whose bind(2) is being carried out. It waits for an answer, as a {@link BindReport}.
 */
export interface EpollReport {
  readonly pid: number;
  /** Whether the held socket is in the server's place for its own already. */
  readonly isPlaced: boolean;
  /** The server's own socket and the held one, borrowed until the answer. */
  readonly socket: number;
  readonly held: number;
  /** The numbers of its own socket in the server. */
  readonly numbers: Int32Array;
  /** Pairs: an epoll's fdinfo (proc(5)), unread, and the epoll. Who gets the report owns them. */
  readonly epolls: Int32Array;
  /** Descriptors that are no epolls. Who gets the report owns them: to close one may wait. */
  readonly strays: Int32Array;
}

/**
 * Binds were answered some milliseconds ago: {@link Interceptor.delivered} has those that were foreseen, and
 * {@link Interceptor.spent} the sockets that were replaced.
 */
export interface DoneTold {
  /** Somebody holds up the held socket of the last foreseen one. Its bind failed with ETIMEDOUT. */
  readonly isStuck: boolean;
}

/** What an interceptor tells. Null: no process has the filter any more. */
export type Told = BindReport | EpollReport | DoneTold | null;

/** Answers the bind(2) calls of one server on a thread of its own (seccomp_unotify(2)). */
export interface Interceptor {
  /**
   * After close: whether its thread has ended, and its descriptors are closed. Until then it may still receive a call,
   * which it writes down and does not answer.
   */
  ended(): boolean;
  /** Begins. Returns 0 or -errno. */
  start(): number;
  /**
   * Answers the report that was last given: 0 success, a positive errno, or -1 to let the kernel carry the call out.
   * `socket`, if not -1, is put in the place of the server's socket first, and is taken ownership of in any case. Then
   * there is an {@link EpollReport} if the server has epolls; with `forgets` also one before.
   *
   * Answers an EpollReport by 0, by EAGAIN for the same report again, or by an errno for the server.
   */
  answer(verdict: number, socket: number, forgets: boolean): void;
  /**
   * From now on, a bind to exactly this address is answered without a report: it succeeds, and `held`, which is
   * borrowed until {@link forget}, is put in the place of the server's socket. Once, and only if that socket gives what
   * `calls` expect, `held` has no O_NONBLOCK, and the thread is in this network namespace (0: in any). `calls` are one
   * batch: see encodeCalls. Epolls are told of as ever.
   *
   * The server's socket may give something else where `variations` say so, in four numbers for each: the call's place
   * in the batch, how it may vary (native/addon/seccomp/foreseen.h), and a level and an option. That is set on `held`.
   * Where a sysctl may have changed the default, a new socket of this domain and type tells whether it was set.
   *
   * `againMs`: 0 if the server has not had `held`. Otherwise it gets it as it is, within so many milliseconds, unless
   * the process that binds still has it, or has an epoll. Then `held` may have O_NONBLOCK, if the server's own has it
   * as well. All such binds are answered so many `times` together.
   */
  foresee(
    id: number,
    held: number,
    sockaddr: Uint8Array,
    network: number,
    calls: Uint8Array,
    domain: number,
    type: number,
    variations: Int32Array,
    againMs: number,
    times: number,
  ): void;
  /**
   * From now on, these calls (see encodeCalls) are made on each socket of this domain and type whose bind is reported,
   * in the place of those before. A report has no results where they took too long.
   */
  inquire(id: number, domain: number, type: number, calls: Uint8Array): void;
  /** From now on all binds are reported. */
  forget(): void;
  /**
   * The binds that were answered as foreseen since the last time, in five numbers and more for each: its id, the
   * process, the thread, the socket's number there, how many calls gave something else than expected, and the place of
   * each of those. Each is here before its held socket is changed, and before the server gets that. None once it is
   * closed.
   */
  delivered(): Int32Array;
  /** Whether the held socket of the last of them is being changed. */
  changing(): boolean;
  /**
   * The servers' own sockets that were replaced since the last time: a pid and a descriptor for each. The caller owns
   * them: to close one may wait for an epoll that has it.
   */
  spent(): Int32Array;
  /** Answers no more. Idempotent. */
  close(): void;
}
