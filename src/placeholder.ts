/**
 * `{fd:NAME}`, `{port:NAME}`, `{address:NAME}` (each with `:INDEX` for other than the first), `{root}`, and `{brace}`
 * for a brace before such a word. Pure.
 */

/** One placeholder: [whole, what, name, index]. Any other brace is the server's own and stays. */
export const placeholder: RegExp = /\{(?:(fd|port|address|root)(?::([^{}:]*)(?::([^{}]*))?)?|brace)\}/g;

/** The text that expands to this one. */
export function escapePlaceholders(text: string): string {
  return text.replace(placeholder, (whole) => `{brace}${whole.slice(1)}`);
}

/** The name of the root's descriptor: in messages, in LISTEN_FDNAMES, in `{fd:root}`. */
export const ROOT = "root";

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

/** What the placeholders of one launch stand for. */
export interface Expansions {
  /** The descriptors of the sockets under a name. */
  sockets(name: string): readonly Expansion[] | undefined;
  /** The root: a path by which the server reaches it, and its descriptor's number where it is placed. */
  readonly root?: { readonly path: string; readonly fd?: number };
}

/** Replaces the placeholders of a text. Returns the text, or `{ problem }` when one names what the berth has not. */
export function expandPlaceholders(text: string, expansions: Expansions): string | { readonly problem: string } {
  const { root } = expansions;
  let problem: string | undefined;
  const expanded = text.replace(
    placeholder,
    (whole, what: string | undefined, name: string | undefined, index: string | undefined) => {
      if (what === undefined) return "{";
      let value: string | number | undefined;
      if (what === "root") value = name === undefined ? root?.path : undefined;
      else if (what === "fd" && name === ROOT && root !== undefined) value = index === undefined ? root.fd : undefined;
      else {
        const entry = name === undefined ? undefined : expansions.sockets(name)?.[Number(index ?? "0")];
        value = what === "fd" ? entry?.fd : what === "port" ? entry?.port : entry?.address;
      }
      if (value === undefined) problem ??= `${whole} names nothing that this berth has`;
      return String(value);
    },
  );
  return problem === undefined ? expanded : { problem };
}
