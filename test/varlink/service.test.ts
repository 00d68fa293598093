import { afterEach, describe, expect, it, vi } from "vitest";
import { borrow, type FdHandle } from "../../src/fd.ts";
import { serviceInterface } from "../../src/varlink/interfaces/org.varlink.service.ts";
import { decodeBytes, encodeCall, type Parameters } from "../../src/varlink/message.ts";
import {
  type Answer,
  answer,
  type Dispatched,
  invalidParameter,
  type Methods,
  refuse,
  Service,
} from "../../src/varlink/service.ts";
import { leaksNothing } from "../support/fds.ts";
import { memfd } from "../support/sockets.ts";

const text = `interface a.b
method Echo(text: string) -> (text: string)
method Keep() -> ()
method Watch() -> (n: int)
method Wait() -> ()
method Leave() -> ()
method Fail() -> ()
method Guard() -> ()
error No ()
`;
interface Signatures {
  readonly Echo: { readonly parameters: { readonly text: string } };
  readonly Keep: { readonly parameters: object };
  readonly Watch: { readonly parameters: object };
  readonly Wait: { readonly parameters: object };
  readonly Leave: { readonly parameters: object };
  readonly Fail: { readonly parameters: object };
  readonly Guard: { readonly parameters: object };
}
const made: FdHandle[] = [];
const kept: FdHandle[] = [];
const service = new Service<string>({ vendor: "v", product: "p", version: "1", url: "u" }, [
  {
    text,
    methods: {
      Echo: {
        handle: (context, parameters) => {
          const file = memfd();
          made.push(file);
          return { ...answer({ text: `${context}:${parameters.text}` }, borrow([file])), owned: [file] };
        },
      },
      Keep: {
        fds: 1,
        handle: (_, __, ___, [fd]) => {
          if (fd !== undefined) kept.push(fd.dup());
          return answer({});
        },
      },
      Watch: { streams: true, handle: () => undefined },
      Wait: {
        handle: () => (done) => {
          const file = memfd();
          made.push(file);
          done({ ...answer({}, borrow([file])), owned: [file] });
        },
      },
      Leave: { handle: () => (done) => done(undefined) },
      Fail: {
        handle: () => {
          throw new Error("a defect");
        },
      },
      Guard: { fds: 1, refuseFd: (_, why) => refuse("a.b.No", { why }), handle: () => answer({}) },
    } satisfies Methods<string, Signatures>,
  },
]);

leaksNothing();
afterEach(() => {
  for (const handle of [...made.splice(0), ...kept.splice(0)]) handle.close();
});

function dispatchBytes(bytes: Buffer, fds: readonly FdHandle[] = []): Dispatched {
  return service.dispatch("me", bytes, bytes.length - 1, fds);
}

function dispatch(method: string, parameters: Parameters = {}, flags = {}, fds: readonly FdHandle[] = []): unknown {
  return replyOf(dispatchBytes(encodeCall(method, parameters, flags), fds));
}

/** The answer, if it is one that comes at once. */
function atOnce({ answer: given }: Dispatched): Answer | undefined {
  if (typeof given === "function") throw new Error("the answer comes later");
  return given;
}

function replyOf(outcome: Dispatched): unknown {
  const given = atOnce(outcome);
  if (given === undefined) return undefined;
  const bytes = Buffer.from(given.bytes);
  return decodeBytes(bytes, bytes.length - 1);
}

const invalid = (parameter: string, message: string = expect.any(String)): unknown => ({
  error: "org.varlink.service.InvalidParameter",
  parameters: { parameter, message },
});

describe("dispatch", () => {
  it("sends an answer that comes later; for a oneway call it closes the answer's fds instead", () => {
    const settled = (flags: object): Answer | undefined => {
      const { answer: later } = dispatchBytes(encodeCall("a.b.Wait", {}, flags));
      if (typeof later !== "function") throw new Error("it came at once");
      let given: Answer | undefined;
      later((answer) => {
        given = answer;
      });
      return given;
    };
    expect(settled({})?.owned?.[0]?.open).toBe(true);
    expect(settled({ oneway: true })).toBeUndefined();
    expect(made.map(({ open }) => open)).toEqual([true, false]);
  });

  it("waits for a oneway call whose caller is gone, and sends nothing", () => {
    const { answer: later } = dispatchBytes(encodeCall("a.b.Leave", {}, { oneway: true }));
    if (typeof later !== "function") throw new Error("it came at once");
    const done = vi.fn();
    later(done);
    expect(done.mock.calls).toEqual([[undefined]]);
  });

  it("hands a valid call to its method with its context; fds made for the answer are the sender's to close", () => {
    const outcome = dispatchBytes(encodeCall("a.b.Echo", { text: "hi" }));
    const { fatal } = outcome;
    const given = atOnce(outcome);
    expect(given && Buffer.from(given.bytes).toString()).toBe('{"parameters":{"text":"me:hi"}}\0');
    expect([fatal, given?.owned?.[0]?.open]).toEqual([false, true]);
  });

  it("answers nothing to oneway, not even an error, and closes what was made for the answer", () => {
    expect(dispatch("a.b.Echo", { text: "hi" }, { oneway: true })).toBeUndefined();
    expect(made.map(({ open }) => open)).toEqual([false]);
    expect(dispatch("a.b.Echo", {}, { oneway: true })).toBeUndefined();
    expect(dispatch("no.Such", {}, { oneway: true })).toBeUndefined();
    expect(dispatch("a.b.Watch", {}, { oneway: true })).toBeUndefined();
  });

  it("goes on after a oneway call, whether its answer comes at once or later", () => {
    expect(dispatchBytes(encodeCall("a.b.Echo", { text: "hi" }, { oneway: true }))).toEqual({
      answer: undefined,
      fatal: false,
    });
    expect(dispatchBytes(encodeCall("a.b.Wait", {}, { oneway: true }))).toEqual({
      answer: expect.any(Function),
      fatal: false,
    });
  });

  it("refuses unknown interfaces and methods, by name", () => {
    const notFound = "org.varlink.service.InterfaceNotFound";
    expect(dispatch("x.y.Z")).toEqual({ error: notFound, parameters: { interface: "x.y" } });
    expect(dispatch("nodots")).toEqual({ error: notFound, parameters: { interface: "nodots" } });
    expect(dispatch(".Z")).toEqual({ error: notFound, parameters: { interface: "" } });
    expect(dispatch("a.b.Nope")).toEqual({
      error: "org.varlink.service.MethodNotFound",
      parameters: { method: "a.b.Nope" },
    });
  });

  it("refuses parameters that are missing, unknown or wrong", () => {
    expect(dispatch("a.b.Echo")).toEqual(invalid("text", "Echo: text must be a string"));
    expect(dispatch("a.b.Echo", { text: 1 })).toEqual(invalid("text", "Echo: text must be a string"));
    expect(dispatch("a.b.Echo", { text: "x", more: 1 })).toEqual(invalid("more", "Echo: there is no parameter more"));
  });

  it("refuses fds where none are taken, and too few or too many, and closes them (hazard 7)", () => {
    for (const [method, count] of [
      ["a.b.Echo", 1],
      ["a.b.Keep", 0],
      ["a.b.Keep", 2],
    ] as const) {
      const fds = Array.from({ length: count }, () => memfd());
      expect(dispatch(method, method === "a.b.Echo" ? { text: "x" } : {}, {}, fds)).toEqual(
        invalid("fds", `${method} takes ${method === "a.b.Echo" ? 0 : 1} descriptors, not ${count}`),
      );
      expect(fds.some(({ open }) => open)).toBe(false);
    }
    expect([made, kept]).toEqual([[], []]);
  });

  it("closes the fds of every call that did not claim them: unknown, malformed, a defect, success", () => {
    const given = (): FdHandle[] => [memfd()];
    const all: FdHandle[][] = [];
    const pass = (): FdHandle[] => all[all.push(given()) - 1] ?? [];
    dispatch("x.y.Z", {}, {}, pass());
    dispatchBytes(Buffer.from("garbage\0"), pass());
    dispatchBytes(Buffer.from("{}\0"), pass());
    expect(() => dispatch("a.b.Fail", {}, {}, [])).toThrow("a defect");
    expect(dispatch("a.b.Keep", {}, {}, pass())).toEqual({ parameters: {} });
    expect(all.flat().some(({ open }) => open)).toBe(false);
    expect(kept[0]?.open).toBe(true);
  });

  it("answers ExpectedMore where a stream is asked for without more", () => {
    expect(dispatch("a.b.Watch")).toEqual({ error: "org.varlink.service.ExpectedMore", parameters: {} });
    expect(dispatch("a.b.Watch", {}, { more: true })).toBeUndefined();
  });

  it.each([
    ["garbage", "the message is not valid JSON"],
    ["[]", "the message is valid JSON, but not an object"],
    ["{}", 'the call has no "method"'],
    ['{"method":"a.b.Echo","unknown":1}', `the call's field "unknown" is unknown or of the wrong type`],
    ['{"method":"a.b.Echo","method":"x"}', "the message has the same key twice in one object"],
  ])("says what is wrong with %s, and that it is fatal", (message, why) => {
    const outcome = dispatchBytes(Buffer.from(`${message}\0`));
    expect(outcome.fatal).toBe(true);
    expect(replyOf(outcome)).toEqual(invalid("call", expect.stringContaining(why)));
  });
});

describe("a descriptor that was not let through", () => {
  const call = (method: string, refused: readonly string[], fds: readonly FdHandle[] = []): unknown => {
    const bytes = encodeCall(method, {});
    return replyOf(service.dispatch("me", bytes, bytes.length - 1, fds, undefined, refused));
  };

  it("is one that the call carried, and the call is refused with the reason", () => {
    expect(call("a.b.Keep", ["it is a folder"])).toEqual(invalid("fds", "it is a folder"));
    expect(call("a.b.Guard", ["it is a folder"])).toEqual({ error: "a.b.No", parameters: { why: "it is a folder" } });
    expect(kept).toEqual([]);
  });

  it("counts as one too many beside one that was let through", () => {
    const file = memfd();
    expect(call("a.b.Keep", ["it is a folder"], [file])).toEqual(invalid("fds", "a.b.Keep takes 1 descriptors, not 2"));
    expect(file.open).toBe(false);
  });
});

it("a refusal of a parameter has a sentence only if there is one", () => {
  const text = (given: Answer): string => Buffer.from(given.bytes).toString();
  const error = '"error":"org.varlink.service.InvalidParameter"';
  expect(text(invalidParameter("x"))).toBe(`{${error},"parameters":{"parameter":"x"}}\0`);
  expect(text(invalidParameter("x", "no"))).toBe(`{${error},"parameters":{"parameter":"x","message":"no"}}\0`);
});

describe("org.varlink.service", () => {
  it("GetInfo names the service and its interfaces", () => {
    expect(dispatch("org.varlink.service.GetInfo")).toEqual({
      parameters: { vendor: "v", product: "p", version: "1", url: "u", interfaces: ["org.varlink.service", "a.b"] },
    });
  });

  it("GetInterfaceDescription gives the very text that is served", () => {
    const description = (name: string): unknown =>
      dispatch("org.varlink.service.GetInterfaceDescription", { interface: name });
    expect(description("a.b")).toEqual({ parameters: { description: text } });
    expect(description("org.varlink.service")).toEqual({ parameters: { description: serviceInterface } });
    expect(description("x.y")).toEqual({
      error: "org.varlink.service.InterfaceNotFound",
      parameters: { interface: "x.y" },
    });
  });
});

it("a service without interfaces of its own tells about itself", () => {
  const bytes = encodeCall("org.varlink.service.GetInfo", {});
  const bare = new Service({ vendor: "", product: "", version: "", url: "" });
  expect(replyOf(bare.dispatch(undefined, bytes, bytes.length - 1, []))).toMatchObject({
    parameters: { interfaces: ["org.varlink.service"] },
  });
});

it("a service whose text lacks a method it implements cannot be made", () => {
  const methods = { Nope: { handle: () => refuse("a.b.No") } };
  expect(() => new Service({ vendor: "", product: "", version: "", url: "" }, [{ text, methods }])).toThrow("Nope");
});

it("the types refuse a handler of other parameters, a missing method, and one that the interface does not have", () => {
  type One = Methods<string, Pick<Signatures, "Echo">>;
  const echo = { handle: (_: string, { text }: { text: string }) => answer({ text }) };
  const fits = { Echo: echo } satisfies One;
  // @ts-expect-error: text is a string.
  const other = { Echo: { handle: (_: string, { text }: { text: number }) => answer({ text }) } } satisfies One;
  // @ts-expect-error: there is no method Echo.
  const missing = {} satisfies One;
  // @ts-expect-error: the interface has no method More.
  const unknown = { Echo: echo, More: echo } satisfies One;
  expect([fits, other, missing, unknown].map((methods) => Object.keys(methods).length)).toEqual([1, 1, 0, 2]);
});
