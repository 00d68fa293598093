/** The public page of a berth, for players. It knows nothing of the host, its versions, or other berths. */
import { render } from "preact";
import "../css/players.css";
import { startClock } from "../live/clock.ts";
import { decoded } from "../model/route.ts";
import { PublicPage } from "./public-page.tsx";

const place = document.getElementById("app");
if (place === null) throw new Error("the page has no element #app");
startClock();
const name = decoded(location.pathname.split("/").at(-1) ?? "");
render(<PublicPage name={name} />, place);
