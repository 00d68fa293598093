/**
 * The addon's calls for eBPF (native/addon/bpf.cc; bpf(2)). They need CAP_BPF, but for the ring and filterLength. Types
 * only.
 */

export interface BpfCalls {
  /** BPF_MAP_CREATE, close-on-exec: a descriptor, or -errno. A ring has keys and values of 0 bytes. */
  bpfMap(type: number, keyBytes: number, valueBytes: number, entries: number): number;
  /** BPF_MAP_UPDATE_ELEM. `key` and `value` must have as many bytes as the map's. Returns 0 or -errno. */
  bpfSet(map: number, key: Uint8Array, value: Uint8Array): number;
  /** BPF_MAP_LOOKUP_ELEM into `value`, sized as for {@link bpfSet}. Returns 0, or -ENOENT. */
  bpfGet(map: number, key: Uint8Array, value: Uint8Array): number;
  /** BPF_MAP_DELETE_ELEM. Returns 0, or -ENOENT. */
  bpfDelete(map: number, key: Uint8Array): number;
  /**
   * BPF_PROG_LOAD of BPF_PROG_TYPE_SOCKET_FILTER: a descriptor for SO_ATTACH_BPF (socket(7)), or -errno.
   * `instructions` are those of src/net/bpf-program.ts. `log` gets the verifier's words; empty: none.
   * -EAGAIN if a signal came meanwhile (src/net/bpf-load.ts).
   */
  bpfSocketFilter(instructions: Uint8Array, log: Uint8Array): number;
  /**
   * As {@link bpfSocketFilter}, of BPF_PROG_TYPE_SK_LOOKUP: it chooses the socket of a new connection (Linux 5.9).
   */
  bpfLookup(instructions: Uint8Array, log: Uint8Array): number;
  /**
   * BPF_LINK_CREATE of such a program to a network namespace. It runs until the descriptor that this returns is closed.
   * Or -errno: -EPERM without CAP_NET_ADMIN there.
   */
  bpfLinkLookup(program: number, network: number): number;
  /**
   * As {@link bpfSocketFilter}, of BPF_PROG_TYPE_CGROUP_SKB: it sees what comes for the sockets of a control group,
   * from the header of the network layer on. 0 drops a packet, 1 lets it pass.
   */
  bpfGroupFilter(instructions: Uint8Array, log: Uint8Array): number;
  /**
   * BPF_LINK_CREATE of such a program to a control group of version 2 and those below it, beside other programs. It
   * runs until the descriptor that this returns is closed. Or -errno: -EBADF for another folder, -E2BIG for more than
   * 64 programs.
   */
  bpfLinkGroup(program: number, group: number): number;
  /**
   * SO_GET_FILTER: how many instructions of classic BPF the filter of a socket has, 0 without a filter, -EACCES for one
   * of eBPF (sk_get_filter in net/core/filter.c).
   */
  filterLength(fd: number): number;
  /** Maps a ring of so many bytes into memory. It needs no privilege and not the descriptor, once it is there. */
  BpfRing: new (
    map: number,
    bytes: number,
  ) => BpfRing;
}

/** The only reader of a map of type BPF_MAP_TYPE_RINGBUF, whose descriptor is readable while it has records. */
export interface BpfRing {
  /** 0, or -errno: it could not be mapped. */
  readonly status: number;
  /** Takes the next record: its true length, which may exceed that of `into`. -EAGAIN if there is none. */
  read(into: Uint8Array): number;
  /** Idempotent. */
  close(): void;
}
