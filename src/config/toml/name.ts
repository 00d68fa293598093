/** The names of berths and sockets, and the `%` specifiers made of them. Pure. */

/** The parts of a berth's name. A `template` (`arena@.toml`) is not a berth: its instances are built from it. */
export type BerthName =
  | { readonly kind: "plain"; readonly full: string }
  | { readonly kind: "template"; readonly full: string; readonly template: string }
  | { readonly kind: "instance"; readonly full: string; readonly template: string; readonly instance: string };

const part = "[A-Za-z0-9][A-Za-z0-9_.-]{0,63}";
const berthName = new RegExp(`^(${part})(?:(@)(${part})?)?$`);
const socketName = /^[A-Za-z0-9_-]{1,64}$/;

/** What {@link parseBerthName} accepts, as a sentence for messages. */
export const BERTH_NAME_RULE =
  "a name has 1 to 64 of A-Z a-z 0-9 _ . - and begins with a letter or digit; an instance is TEMPLATE@INSTANCE";

/** What {@link isSocketName} accepts, for messages. */
export const SOCKET_NAME_RULE = "a socket's name has 1 to 64 of A-Z a-z 0-9 _ -";

/** Takes `NAME`, `TEMPLATE@` or `TEMPLATE@INSTANCE` apart; undefined if it is none of them. */
export function parseBerthName(full: string): BerthName | undefined {
  const match = berthName.exec(full);
  if (match === null) return undefined;
  const [, template = "", at, instance] = match;
  if (at === undefined) return { kind: "plain", full };
  return instance === undefined ? { kind: "template", full, template } : { kind: "instance", full, template, instance };
}

/** Whether a socket may have this name: it must fit LISTEN_FDNAMES (sd_listen_fds(3)) and `{fd:NAME:INDEX}`. */
export function isSocketName(text: string): boolean {
  return socketName.test(text);
}

/** The values of `%i`, `%n` and `%t` in one berth's files; only an instance has `%i` and `%t`. */
export function specifiersOf(name: BerthName): ReadonlyMap<string, string> {
  const specifiers = new Map([
    ["%", "%"],
    ["n", name.full],
  ]);
  if (name.kind === "instance") specifiers.set("i", name.instance).set("t", name.template);
  return specifiers;
}

/** Replaces each `%x`. One that is not in `specifiers` stays in the text, and is passed to `unknown`. */
export function expandSpecifiers(
  text: string,
  specifiers: ReadonlyMap<string, string>,
  unknown: (specifier: string) => void,
): string {
  return text.replace(/%(.?)/gsu, (whole, letter: string) => {
    const replacement = specifiers.get(letter);
    if (replacement === undefined) unknown(whole);
    return replacement ?? whole;
  });
}
