/** The copy of a thing's descriptors that outlives the broker, in the service manager's store: see keeping.ts. */
export interface StoredCopy {
  /** Its thing is gone for good: the copy goes too, in a moment. */
  drop(): void;
  /** As {@link drop}, and waits until the copy is closed, so that its address is free. */
  dropNow(): void;
}
