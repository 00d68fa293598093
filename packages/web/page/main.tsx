/** The status page. It reads, and never acts. */
import { render } from "preact";
import "./css/page.css";
import { App } from "./app.tsx";
import { startClock } from "./live/clock.ts";
import { startStream } from "./live/stream.ts";

const place = document.getElementById("app");
if (place === null) throw new Error("the page has no element #app");
startClock();
startStream();
render(<App />, place);
