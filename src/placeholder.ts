/** `{fd:NAME}`, `{port:NAME}`, `{address:NAME}` (each with `:INDEX` for other than the first) and `{root}`. Pure. */

/** One placeholder: [whole, what, name, index]. Any other brace is the server's own and stays. */
export const placeholder: RegExp = /\{(fd|port|address|root)(?::([^{}:]*)(?::([^{}]*))?)?\}/g;

/** Whether a server finds descriptors from 3 up: unless it is to come by its sockets through bind(2) alone. */
export function placesDescriptors(deliver: readonly string[]): boolean {
  return deliver.includes("listen-fds") || !deliver.includes("bind");
}

/** What a socket's descriptors are, in the order of its addresses. */
export interface Expansion {
  /** Its number in the server; absent where it is delivered in another way. */
  readonly fd?: number;
  /** Where it is bound: `0.0.0.0:77`, `[::]:77`, a path, or `@name`. */
  readonly address: string;
  /** Of an internet socket. */
  readonly port?: number;
}

/**
 * Replaces the placeholders of a text. Returns the text, or `{ problem }` when one names what the berth has not.
 * `sockets` gives the descriptors under a name.
 */
export function expandPlaceholders(
  text: string,
  sockets: (name: string) => readonly Expansion[] | undefined,
): string | { readonly problem: string } {
  let problem: string | undefined;
  const expanded = text.replace(
    placeholder,
    (whole, what: string, name: string | undefined, index: string | undefined) => {
      const entry = name === undefined ? undefined : sockets(name)?.[Number(index ?? "0")];
      const value =
        what === "fd" ? entry?.fd : what === "port" ? entry?.port : what === "address" ? entry?.address : undefined;
      if (value === undefined) problem ??= `${whole} names nothing that this berth has`;
      return String(value);
    },
  );
  return problem === undefined ? expanded : { problem };
}
