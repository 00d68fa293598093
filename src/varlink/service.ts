/**
 * The service side of Varlink: decode, validate, then hand the call to its method. It never touches a socket: bytes
 * and fds come in, an answer goes out. What a method needs to know of its caller travels as the context `C`.
 */
import { type Borrowed, closeAll, type FdHandle, NOTHING_BORROWED } from "../fd.ts";
import { type Interface, parseInterface } from "./idl.ts";
import { type CallMessage, decodeBytes, encodeError, encodeReply, type Parameters, readCall } from "./message.ts";
import { serviceInterface } from "./org.varlink.service.ts";
import type { ServiceMethods } from "./org.varlink.service.types.ts";
import { compileParameters, explainParameters, type Validator } from "./validate.ts";

/** An answer: the bytes of a reply, and the descriptors that go with it. */
export interface Answer {
  readonly bytes: Uint8Array;
  readonly borrowed: Borrowed;
  /** Handles made for this answer alone: whoever sends it closes them afterwards. */
  readonly owned?: readonly FdHandle[];
}

/** A successful reply. */
export function answer(parameters: Parameters, borrowed: Borrowed = NOTHING_BORROWED): Answer {
  return { bytes: encodeReply(parameters), borrowed };
}

/** An error reply. */
export function refuse(error: string, parameters?: Parameters): Answer {
  return { bytes: encodeError(error, parameters), borrowed: NOTHING_BORROWED };
}

/** org.varlink.service.InvalidParameter, with a sentence for people. */
export function invalidParameter(parameter: string, message?: string): Answer {
  return refuse("org.varlink.service.InvalidParameter", { parameter, ...(message !== undefined && { message }) });
}

/**
 * An answer that takes time. Called once, it calls `settle` once: with the answer, to be sent in that very instant while
 * what it borrows is what it was, or with undefined when nobody is left to hear it.
 */
export type Later = (settle: (answer: Answer | undefined) => void) => void;

/** Answers a call, at once or later; undefined when it keeps the connection to send a stream of replies itself. */
export type Handler<C, P> = (
  context: C,
  parameters: P,
  call: CallMessage,
  fds: readonly FdHandle[],
) => Answer | Later | undefined;

/** How one method of an interface is done, whose parameters are of type `P`. */
export interface Method<C, P> {
  readonly handle: Handler<C, P>;
  /** How many fds a call must carry; 0 unless said. The handler dups or steals the ones it keeps. */
  readonly fds?: number;
  /** Makes sense only with `more`: without it the caller gets ExpectedMore. */
  readonly streams?: boolean;
}

/**
 * A method for each one that an interface has. `Signatures` are its types, as in io.berthd.Broker.types.ts: an object
 * that `satisfies` this has a typed handler for every method of the interface, and no other.
 */
export type Methods<C, Signatures extends Readonly<Record<keyof Signatures, { readonly parameters: unknown }>>> = {
  readonly [Name in keyof Signatures]: Method<C, Signatures[Name]["parameters"]>;
};

/** One interface: its text, and how each of its methods is done. Write `methods` with `satisfies` {@link Methods}. */
export interface Implementation<C> {
  readonly text: string;
  readonly methods: Readonly<Record<string, Method<C, never>>>;
}

export interface ServiceInfo {
  readonly vendor: string;
  readonly product: string;
  readonly version: string;
  readonly url: string;
}

/** What becomes of the bytes of one message. */
export interface Outcome {
  /** The reply to send, if any; until it has come, no other call of this connection may be carried out. */
  readonly answer: Answer | Later | undefined;
  /** The peer does not speak the protocol: close after the answer. */
  readonly fatal: boolean;
}

/** A method with what its interface says about its parameters. */
interface ServedMethod<C> {
  readonly method: Method<C, never>;
  readonly validate: Validator;
  /** A sentence about the parameter that `validate` has refused. */
  readonly explain: (path: string) => string;
}

/** Closes what was made for an answer that nobody gets. */
export function discard(answer: Answer | undefined): void {
  if (answer?.owned !== undefined) closeAll(answer.owned);
}

/** The answer to a call that wants none: waited for all the same, for the order of what follows. */
function unheard(later: Later): Later {
  return (settle) =>
    later((answer) => {
      discard(answer);
      settle(undefined);
    });
}

const silence: Outcome = { answer: undefined, fatal: false };

export class Service<C> {
  readonly #interfaces = new Map<string, string>();
  readonly #methods = new Map<string, ServedMethod<C>>();

  constructor(info: ServiceInfo, implementations: readonly Implementation<C>[] = []) {
    this.add({ text: serviceInterface, methods: this.#own(info) });
    for (const implementation of implementations) this.add(implementation);
  }

  /** Handles one message. Every fd that no step claimed is closed when this returns. */
  dispatch(context: C, bytes: Buffer, length: number, fds: readonly FdHandle[]): Outcome {
    try {
      const object = decodeBytes(bytes, length);
      if (typeof object === "string") return { answer: invalidParameter("call", object), fatal: true };
      const call = readCall(object);
      if (typeof call === "string") return { answer: invalidParameter("call", call), fatal: true };
      const reply = this.#answer(context, call, fds);
      if (!call.oneway && reply !== undefined) return { answer: reply, fatal: false };
      if (typeof reply === "function") return { answer: unheard(reply), fatal: false };
      discard(reply);
      return silence;
    } finally {
      if (fds.length > 0) closeAll(fds);
    }
  }

  #answer(context: C, call: CallMessage, fds: readonly FdHandle[]): Answer | Later | undefined {
    const entry = this.#methods.get(call.method);
    if (entry === undefined) return this.#unknown(call.method);
    const wrong = entry.validate(call.parameters);
    if (wrong !== undefined) return invalidParameter(wrong, entry.explain(wrong));
    if (fds.length !== (entry.method.fds ?? 0)) {
      return invalidParameter("fds", `${call.method} takes ${entry.method.fds ?? 0} descriptors, not ${fds.length}`);
    }
    if (entry.method.streams === true && !call.more) return refuse("org.varlink.service.ExpectedMore");
    // The only cast: `validate` has held the parameters against the text that the handler's type was written from.
    return entry.method.handle(context, call.parameters as never, call, fds);
  }

  #unknown(method: string): Answer {
    const dot = method.lastIndexOf(".");
    const name = dot < 0 ? method : method.slice(0, dot);
    if (!this.#interfaces.has(name)) return refuse("org.varlink.service.InterfaceNotFound", { interface: name });
    return refuse("org.varlink.service.MethodNotFound", { method });
  }

  /** Serves another interface from now on. Throws for a method that the interface does not have. */
  add(implementation: Implementation<C>): void {
    const parsed: Interface = parseInterface(implementation.text);
    this.#interfaces.set(parsed.name, implementation.text);
    for (const [name, method] of Object.entries(implementation.methods)) {
      this.#methods.set(`${parsed.name}.${name}`, {
        method,
        validate: compileParameters(parsed, name),
        explain: (path) => `${name}: ${explainParameters(parsed, name, path)}`,
      });
    }
  }

  #own(info: ServiceInfo): Methods<C, ServiceMethods> {
    return {
      GetInfo: {
        handle: () => {
          const interfaces = [...this.#interfaces.keys()];
          return answer({ ...info, interfaces } satisfies ServiceMethods["GetInfo"]["reply"]);
        },
      },
      GetInterfaceDescription: {
        handle: (_, { interface: name }) => {
          const description = this.#interfaces.get(name);
          if (description === undefined) return refuse("org.varlink.service.InterfaceNotFound", { interface: name });
          return answer({ description } satisfies ServiceMethods["GetInterfaceDescription"]["reply"]);
        },
      },
    };
  }
}
