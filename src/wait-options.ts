/** What every call that waits accepts. */
export interface WaitOptions {
  /** Ends the wait. Descriptors that arrive after an abort are closed. */
  readonly signal?: AbortSignal | undefined;
}
