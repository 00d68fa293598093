/** What a client of Minecraft Java wants, as its first bytes say. */
export type Opening =
  /** `end`: where the bytes after the handshake begin. `protocol`: the client's version. */
  | { readonly kind: "status"; readonly end: number; readonly protocol: number }
  | { readonly kind: "join" }
  | { readonly kind: "legacy-status"; readonly isOldest: boolean }
  | { readonly kind: "legacy-join" }
  | { readonly kind: "short" }
  | { readonly kind: "other" };

/** Mojang's names are letters, digits and `_`. Servers without its accounts allow more. */
export function isName(value: string): boolean {
  return /^[\x21-\x7e]{1,16}$/.test(value);
}
