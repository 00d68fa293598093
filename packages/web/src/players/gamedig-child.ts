/**
 * The process that asks servers, by gamedig: a question a line on its standard input, an answer a line on its standard
 * output. What strangers send is read here, where it cannot stop or fill the process of the page. It ends with that.
 */
import { createInterface } from "node:readline";
import { GameDig, games, protocols } from "gamedig";
import { clean } from "../model/text.ts";
import { answerOf, type Question, STUCK, typeFor } from "./question.ts";

/** It asks one port once. */
const OPTIONS = { givenPortOnly: true, maxRetries: 1, socketTimeout: 2_000, attemptTimeout: 4_000 };

/** Work in one go, in microseconds, that no honest answer needs. */
const MOST_WORK = 1e6;
let work = process.cpuUsage();
setInterval(endIfStuck, 100);

/** Functions that {@link boundRequests} has put in place. */
const bounded = new WeakSet<object>();

boundRequests();
createInterface({ input: process.stdin })
  .on("line", (line) => {
    const { id, ...question }: Question & { readonly id: number } = JSON.parse(line);
    void reply(id, question);
  })
  .once("close", () => process.exit());
send({ ready: true });

async function reply(id: number, question: Question): Promise<void> {
  try {
    send({ id, answer: await ask(question) });
  } catch (error) {
    send({ id, why: whyOf(error) });
  }
}

async function ask({ type, host, port }: Question): Promise<unknown> {
  const known = typeFor(type, games, Object.keys(protocols));
  if (known === undefined) throw new Error("there is no game and no protocol of this name");
  const result = await GameDig.query({ type: known, host, port, requestPlayers: false, ...OPTIONS });
  const answer = answerOf(result, Object.hasOwn(games, type) ? games[type]?.name : null);
  if (answer === undefined) throw new Error("its answer has no number of players");
  return answer;
}

function send(message: unknown): void {
  endIfStuck();
  process.stdout.write(`${JSON.stringify(message)}\n`);
}

/** The answers of other servers wait meanwhile. After this end, the server that takes long is asked alone. */
function endIfStuck(): void {
  const { user, system } = process.cpuUsage(work);
  if (user + system > MOST_WORK) process.exit(STUCK);
  work = process.cpuUsage();
}

/** Requests by HTTP go where the question says, not where the answer says; and nothing is unpacked. */
function boundRequests(): void {
  for (const { prototype } of Object.values(protocols)) {
    for (let owner: object | null = prototype; owner !== null; owner = Reflect.getPrototypeOf(owner)) {
      const request: unknown = Object.getOwnPropertyDescriptor(owner, "request")?.value;
      if (typeof request !== "function" || bounded.has(request)) continue;
      const within = function (this: unknown, params: object): unknown {
        return Reflect.apply(request, this, [{ ...params, followRedirect: false, decompress: false }]);
      };
      bounded.add(within);
      Object.defineProperty(owner, "request", { value: within });
    }
  }
}

/** In words. gamedig's own message says only how often it failed, and its stack each time why. */
function whyOf(error: unknown): string {
  if (!(error instanceof Error)) return "it failed";
  const why = /^Attempt #.*\n(?:\w*Error: )?(.*)$/m.exec(error.stack ?? "")?.[1] ?? error.message;
  if (why.includes("Timed out")) return "it did not answer in time";
  if (/Connection Refused|ECONNREFUSED/.test(why)) return "nothing listens there";
  if (/ENOTFOUND|EAI_AGAIN/.test(why)) return "there is no host of this name";
  return clean(why, 200);
}
