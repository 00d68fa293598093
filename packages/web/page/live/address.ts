/** The view that the page's address names. */
import { useEffect, useState } from "preact/hooks";
import { parseRoute, type Route } from "../model/route.ts";

export function useRoute(): Route {
  const [route, setRoute] = useState<Route>(() => parseRoute(location.hash) ?? { view: "home" });
  useEffect(() => {
    const follow = (): void => setRoute((before) => parseRoute(location.hash) ?? before);
    addEventListener("hashchange", follow);
    return () => removeEventListener("hashchange", follow);
  }, []);
  return route;
}
