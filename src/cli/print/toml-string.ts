/** Writes text as a string of a berth file. Pure. */

/** The text as a basic string of TOML. Escapes `%`, which begins a specifier, and control characters. */
export function tomlString(text: string): string {
  return JSON.stringify(text.replaceAll("%", "%%")).replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (character) => {
    return `\\U${(character.codePointAt(0) ?? 0).toString(16).padStart(8, "0")}`;
  });
}
