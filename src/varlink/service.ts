/**
 * The service side of Varlink: decode, validate, then pass the call to its method. It never touches a socket: it takes
 * bytes and fds, and returns an answer. The context `C` tells a method who its caller is.
 */
import { type Borrowed, closeAll, type FdHandle, NOTHING_BORROWED } from "../fd.ts";
import { CallDecoder } from "./call-decoder.ts";
import { type Interface, parseInterface } from "./idl.ts";
import { serviceInterface } from "./interfaces/org.varlink.service.ts";
import type { ServiceMethods } from "./interfaces/org.varlink.service.types.ts";
import { type CallMessage, encodeError, encodeReply, type Parameters } from "./message.ts";
import { compileParameters, explainParameters, type Validator } from "./validate.ts";

/** An answer: the bytes of a reply, and the descriptors that go with it. */
export interface Answer {
  readonly bytes: Uint8Array;
  readonly borrowed: Borrowed;
  /** Handles made only for this answer. The sender closes them after the send. */
  readonly owned?: readonly FdHandle[];
  /** The name of the error, if it is an error reply. */
  readonly error?: string;
}

/** A successful reply. */
export function answer(parameters: Parameters, borrowed: Borrowed = NOTHING_BORROWED): Answer {
  return { bytes: encodeReply(parameters), borrowed };
}

/** An error reply. */
export function refuse(error: string, parameters?: Parameters): Answer {
  return { bytes: encodeError(error, parameters), borrowed: NOTHING_BORROWED, error };
}

/** org.varlink.service.InvalidParameter, with a sentence for people. */
export function invalidParameter(parameter: string, message?: string): Answer {
  return refuse("org.varlink.service.InvalidParameter", { parameter, message });
}

/**
 * An answer that takes time. It is called once, and calls `done` once. `done` must send the answer at once, because the
 * borrowed descriptors can change afterwards. `done(undefined)` means that the caller is gone.
 */
export type Later = (done: (answer: Answer | undefined) => void) => void;

/** Answers a call, at once or later. Undefined means that the handler sends a stream of replies itself. */
export type Handler<C, P> = (
  context: C,
  parameters: P,
  call: CallMessage,
  fds: readonly FdHandle[],
) => Answer | Later | undefined;

/** One method of an interface, with parameters of type `P`. */
export interface Method<C, P> {
  readonly handle: Handler<C, P>;
  /** How many fds a call must carry; the default is 0. The handler dups or steals the ones it keeps. */
  readonly fds?: number;
  /** The method needs `more`: a call without it gets ExpectedMore. */
  readonly streams?: boolean;
  /** The answer when a descriptor of the call was not let through. `why` is a sentence. Default: InvalidParameter. */
  readonly refuseFd?: (parameters: P, why: string) => Answer;
}

/**
 * A method for each one that an interface has. `Signatures` are its types, as in io.berthd.Broker.types.ts: an object
 * that `satisfies` this has a typed handler for every method of the interface, and no other.
 */
export type Methods<C, Signatures extends Readonly<Record<keyof Signatures, { readonly parameters: unknown }>>> = {
  readonly [Name in keyof Signatures]: Method<C, Signatures[Name]["parameters"]>;
};

/** One interface: its text and its methods. Write `methods` with `satisfies` {@link Methods}. */
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

/** The result of one message. */
export interface Dispatched {
  /** The reply to send, if any. Do not carry out another call of this connection before the reply is ready. */
  readonly answer: Answer | Later | undefined;
  /** The peer broke the protocol: close the connection after the answer. */
  readonly fatal: boolean;
}

/** A method with what its interface says about its parameters. */
interface ServedMethod<C> {
  readonly method: Method<C, never>;
  readonly validate: Validator;
  /** A sentence about the parameter that `validate` has refused. */
  readonly explain: (path: string) => string;
}

/** Closes the owned descriptors of an answer that is not sent. */
export function closeOwned(answer: Answer | undefined): void {
  if (answer?.owned !== undefined) closeAll(answer.owned);
}

/** The answer to a `oneway` call. The connection waits for it, so the calls stay in order, but sends nothing. */
function withoutReply(later: Later): Later {
  return (done) =>
    later((answer) => {
      closeOwned(answer);
      done(undefined);
    });
}

const NONE_REFUSED: readonly string[] = Object.freeze([]);

const NO_ANSWER: Dispatched = { answer: undefined, fatal: false };

export class Service<C> {
  readonly #interfaces = new Map<string, string>();
  readonly #methods = new Map<string, ServedMethod<C>>();

  constructor(info: ServiceInfo, implementations: readonly Implementation<C>[] = []) {
    this.add({ text: serviceInterface, methods: this.#own(info) });
    for (const implementation of implementations) this.add(implementation);
  }

  /**
   * Handles one message. Closes every fd that the handler did not keep. `decoder` is the connection's. `refused` says
   * why other descriptors of the message were not let through.
   */
  dispatch(
    context: C,
    bytes: Buffer,
    length: number,
    fds: readonly FdHandle[],
    decoder: CallDecoder = new CallDecoder(),
    refused: readonly string[] = NONE_REFUSED,
  ): Dispatched {
    try {
      const call = decoder.decode(bytes, length);
      if (typeof call === "string") return { answer: invalidParameter("call", call), fatal: true };
      const reply = this.#answer(context, call, fds, refused);
      if (!call.oneway) return { answer: reply, fatal: false };
      if (typeof reply === "function") return { answer: withoutReply(reply), fatal: false };
      closeOwned(reply);
      return NO_ANSWER;
    } finally {
      closeAll(fds);
    }
  }

  #answer(
    context: C,
    call: CallMessage,
    fds: readonly FdHandle[],
    refused: readonly string[],
  ): Answer | Later | undefined {
    const entry = this.#methods.get(call.method);
    if (entry === undefined) return this.#unknown(call.method);
    const wrong = entry.validate(call.parameters);
    if (wrong !== undefined) return invalidParameter(wrong, entry.explain(wrong));
    const came = fds.length + refused.length;
    if (came !== (entry.method.fds ?? 0)) {
      return invalidParameter("fds", `${call.method} takes ${entry.method.fds ?? 0} descriptors, not ${came}`);
    }
    const why = refused[0];
    if (why !== undefined) {
      const { refuseFd = () => invalidParameter("fds", why) } = entry.method;
      return refuseFd(call.parameters as never, why);
    }
    if (entry.method.streams === true && !call.more) return refuse("org.varlink.service.ExpectedMore");
    // The only casts: `validate` checked the parameters against the interface text, and the handler's type follows it.
    return entry.method.handle(context, call.parameters as never, call, fds);
  }

  #unknown(method: string): Answer {
    const dot = method.lastIndexOf(".");
    const name = dot < 0 ? method : method.slice(0, dot);
    if (!this.#interfaces.has(name)) return refuse("org.varlink.service.InterfaceNotFound", { interface: name });
    return refuse("org.varlink.service.MethodNotFound", { method });
  }

  /** Adds an interface to the service. Throws for a method that the interface does not have. */
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
