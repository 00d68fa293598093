/** A process of open status pages: `node web-pages.mjs PORT COUNT` opens so many streams of events, and says "open". */
import { get } from "node:http";

const [port, count] = process.argv.slice(2).map(Number);
let events = 0;

function open() {
  return new Promise((resolve, reject) => {
    const request = get({ port, path: "/api/v1/events", agent: false }, (response) => {
      if (response.statusCode !== 200) return reject(new Error(`a stream was refused: ${response.statusCode}`));
      response.on("data", () => events++);
      response.once("data", resolve);
      response.once("close", () => process.exit(1));
    });
    request.on("error", reject);
  });
}

await Promise.all(Array.from({ length: count }, open));
console.log("open");
process.on("SIGTERM", () => {
  // The first event of a stream is all that there is; those after it are what has changed.
  console.log(`changes ${events - count}`);
  process.exit(0);
});
