/** The copy of a descriptor in the service manager's store; it outlives the broker (see restart/store-mirror.ts). */
export interface StoredCopy {
  /** Removes the copy soon: the descriptor is closed for good. */
  drop(): void;
  /** As {@link drop}, and waits until the copy is closed, so that its address is free. */
  dropNow(): void;
}
