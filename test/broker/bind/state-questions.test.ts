/** What a report says of its server's socket, and when that is not believed. */
import { afterEach, beforeEach, expect, it } from "vitest";
import { StateQuestions } from "../../../src/broker/bind/state-questions.ts";
import { NewSockets } from "../../../src/broker/plans/new-sockets.ts";
import { type Native, native } from "../../../src/native.ts";
import type { BindReport } from "../../../src/native-interceptor.ts";
import { AF_INET } from "../../../src/net/address.ts";
import { SOCK_DGRAM } from "../../../src/net/transport.ts";

const kind = { domain: AF_INET, type: SOCK_DGRAM };
const NONBLOCK = 0o4000;

/** Unbound, without IPV6_V6ONLY, not blocking, and otherwise as expected. */
const name = new Uint8Array(16);
name[0] = AF_INET;
const state = new Uint8Array(
  Int32Array.of(0, name.length, ...new Int32Array(name.buffer), -95, 0, NONBLOCK, 0, 1, 0).buffer,
);

// So that nothing is remembered of new sockets.
let sys: Native;
let inquiries: number[];
let questions: StateQuestions;

beforeEach(() => {
  sys = { ...native };
  inquiries = [];
  questions = new StateQuestions(sys, { inquire: (id) => inquiries.push(id) });
});

afterEach(() => NewSockets.of(kind.domain, kind.type, sys).batch.forget());

function report(question: number, answer: Uint8Array = state): BindReport {
  const where = { pid: 1, thread: 1, fd: 3, error: 0, recalled: false, socket: 3, stray: -1, network: 0 };
  return { ...where, question, state: answer, sockaddr: new Uint8Array(16) };
}

it("an answer to the last question is what the socket is", () => {
  questions.ask(kind);
  questions.ask(kind);
  expect(inquiries).toEqual([1]);
  const socket = { settings: [], flags: NONBLOCK, bound: undefined, v6only: false };
  expect(questions.answerIn(report(1), kind)).toEqual(socket);
});

it("no answer, half of one, and one to another question are none", () => {
  expect(questions.answerIn(report(1), kind)).toBeUndefined();
  questions.ask(kind);
  expect(questions.answerIn(report(2), kind)).toBeUndefined();
  expect(questions.answerIn(report(1, state.subarray(0, 36)), kind)).toBeUndefined();
  expect(questions.answerIn(report(1), { ...kind, domain: 10 })).toBeUndefined();
});

it("an answer that compares with what is no longer expected is none; the next question compares with the new", () => {
  questions.ask(kind);
  NewSockets.of(kind.domain, kind.type, sys).batch.expect({ result: 0, value: Int32Array.of(1, 2) });
  expect(questions.answerIn(report(1), kind)).toBeUndefined();
  questions.ask(kind);
  expect(inquiries).toEqual([1, 2]);
  expect(questions.answerIn(report(2), kind)).toBeDefined();
});

it("a thread that did not look is asked again, for another one may have taken over", () => {
  questions.ask(kind);
  expect(questions.answerIn(report(-1), kind)).toBeUndefined();
  questions.ask(kind);
  expect(inquiries).toEqual([1, 2]);
});
