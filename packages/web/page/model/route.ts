/** The addresses of the views, which are the fragment of the page's address. Pure. */

export type Route =
  | { readonly view: "home" }
  | { readonly view: "host"; readonly host: string }
  | { readonly view: "fleet" }
  | { readonly view: "berth"; readonly host: string; readonly name: string }
  | { readonly view: "quiet"; readonly host: string | null; readonly name: string | null };

/** An unknown address is the home view. Undefined: an anchor in the page, such as `#main`. */
export function parseRoute(hash: string): Route | undefined {
  if (hash !== "" && !hash.startsWith("#/")) return undefined;
  const [view, host = "", name = ""] = hash
    .replace(/^#?\/?/, "")
    .split("/")
    .map(decoded);
  if (view === "fleet") return { view };
  if (view === "h" && host !== "") return { view: "host", host };
  if (view === "b" && host !== "" && name !== "") return { view: "berth", host, name };
  if (view === "quiet") return { view, host: host === "" ? null : host, name: name === "" ? null : name };
  return { view: "home" };
}

export function hrefOf(route: Route): string {
  switch (route.view) {
    case "home":
      return "#/";
    case "fleet":
      return "#/fleet";
    case "host":
      return `#/h/${encoded(route.host)}`;
    case "berth":
      return `#/b/${encoded(route.host)}/${encoded(route.name)}`;
    case "quiet":
      return ["#/quiet", ...[route.host, route.name].filter((part) => part !== null).map(encoded)].join("/");
    default:
      return route satisfies never;
  }
}

/** `@` stays as it is: names are read in the address bar. */
function encoded(part: string): string {
  return encodeURIComponent(part).replaceAll("%40", "@");
}

/** A part that is not well formed stays as it is. */
export function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
