/**
 * What is still to be done to a held socket that somebody else has or had, who may hold its lock: as a plan for the
 * guard. It makes no call on the socket.
 */
import { type SocketOptions, settingsFor } from "../../config/keys/socket-options.ts";
import { messageOf, SysError } from "../../errors.ts";
import type { Native } from "../../native.ts";
import type { Address, ListenAddress } from "../../net/address.ts";
import { SO_BINDTOIFINDEX, SOL_SOCKET } from "../../net/socket-constants.ts";
import { configuredState, expectedState, type OptionState } from "./option-state.ts";
import { settingsPlan } from "./settings-plan.ts";
import type { SocketPlan } from "./socket-call.ts";
import { repairPlan } from "./socket-repair.ts";

/** To set some of its options, or to set right all that a tenant may have changed. */
export type Due = "settings" | "repair";

/** The socket, as far as the plans need to know it. */
export interface CaredFor {
  readonly listen: ListenAddress;
  readonly options: SocketOptions;
  /** Where it is bound. */
  readonly address: Address;
  /** Whether clients can still reach it. */
  readonly reachable: boolean;
}

/** In the sentence of a socket that could not be opened again: it is bound to nothing. */
export const NOT_REOPENED = "cannot be opened again";

/** Opens a socket again, and describes that. */
export function reopened(reason: string, socket: { reopen(): void }): string {
  try {
    socket.reopen();
    return `${reason}; it was opened again`;
  } catch (error) {
    return `${reason} and ${NOT_REOPENED}: ${messageOf(error)}; berthd tries again`;
  }
}

/** Why a UNIX socket is opened again whose server removed its path. */
export const PATH_LOST = "had its path removed or replaced";

const CAME_BACK = "its interface, which went and came back";

/** shutdown(2). */
const SHUT_RDWR = 2;

export class SocketCare {
  readonly #socket: CaredFor;
  readonly #sys: Native;
  /** Somebody else has or had it. */
  isShared = false;
  /** A repair has found that only a new socket helps, and shuts this one down. */
  isGivenUp = false;
  /** It could not be opened again, so it is bound to nothing: a sentence's end that says why. */
  lost: string | undefined;
  /** Why it was to be opened again. */
  #lostFor: string | undefined;
  #due: Due | undefined;
  /** Changes with each thing that becomes due: what was begun before is then out of date. */
  #dues = 0;
  /** How often it was opened. */
  #opens = 0;
  /** Its options are not set as they are configured. */
  #isUnset = false;
  /** Options that the broker itself changed since the last lease ended: to set them back takes no sentence. */
  #carried: Set<string> | undefined;
  /** The index of its interface, which has come back with another one. */
  #moved: number | undefined;
  /** Of a .socket unit: whether its options are still those of the unit, and which these were, if that is known. */
  #isUnits = false;
  #given: OptionState | undefined;
  /** What {@link expectedState} made of a new socket's state: the same as long as that is. */
  #expected:
    | { readonly fresh: OptionState; readonly boundTo: number | undefined; readonly state: OptionState }
    | undefined;

  constructor(socket: CaredFor, sys: Native) {
    this.#socket = socket;
    this.#sys = sys;
  }

  /** It was passed by an earlier broker or a unit. */
  adopt(isUnits: boolean, given: OptionState | undefined): void {
    this.isShared = true;
    this.#isUnits = isUnits;
    this.#given = given;
    this.#expected = undefined;
  }

  /** It is a new socket, which nobody has seen. */
  begin(): void {
    this.isShared = false;
    this.isGivenUp = false;
    this.lost = undefined;
    this.#lostFor = undefined;
    this.#due = undefined;
    this.#opens++;
    this.#isUnset = false;
    this.#moved = undefined;
    this.#isUnits = false;
    this.#given = undefined;
    this.#expected = undefined;
  }

  /** Which options {@link settingsPlan} sets: of a socket that comes from a unit, also those of its bind. */
  get place(): "unit" | "held" {
    return this.#isUnits ? "unit" : "held";
  }

  get due(): Due | undefined {
    return this.#due;
  }

  /** It gets other options. */
  needsSettings(options: SocketOptions): void {
    this.keep(options);
    this.#isUnset = true;
    this.#due ??= "settings";
    this.#dues++;
  }

  /** An option that is no longer configured keeps its value until the lease ends: that was not the server's doing. */
  keep(options: SocketOptions): void {
    const { listen } = this.#socket;
    const kept = new Set(settingsFor("any", listen, options).map(({ kernel }) => kernel.name));
    for (const { kernel } of settingsFor("any", listen, this.#socket.options))
      if (!kept.has(kernel.name)) this.carry(kernel.name);
  }

  /** The broker changes the option of this name for the present tenant. */
  carry(name: string): void {
    this.#carried ??= new Set();
    this.#carried.add(name);
  }

  /** Its interface went and came back, and has this index. Without a tenant, a new socket is as good. */
  needsInterface(index: number, isVacant: boolean): void {
    this.#moved = index;
    this.carry("SO_BINDTODEVICE");
    this.#due = isVacant ? "repair" : (this.#due ?? "settings");
    this.#dues++;
  }

  /** A tenant is gone, and may have changed it. */
  needsRepair(): void {
    if (!this.isShared) return;
    this.#due = "repair";
    this.#dues++;
  }

  /**
   * The plan of what is due, or is to be done now. `tell` gets one sentence for each thing that was wrong. If nothing
   * else helps, `reopen` opens a new socket on the same address, and says what came of it. `keepsFlags`: as in
   * {@link repairPlan}.
   */
  *plan(
    tell: (sentences: readonly string[]) => void,
    reopen: (why: string) => string,
    due: Due | undefined = this.#due,
    keepsFlags = false,
  ): SocketPlan<void> {
    const { listen, options, address } = this.#socket;
    const dues = this.#dues;
    const opens = this.#opens;
    if (due === undefined) return;
    const sentences = this.#isUnset ? yield* settingsPlan(listen, options, this.place) : [];
    const stays = this.#moved === undefined ? undefined : yield* followPlan(this.#moved);
    if (this.#moved !== undefined && stays === undefined) sentences.push(`follows ${CAME_BACK}`);
    // Without a tenant it can be opened again, and nobody needs to do anything.
    let beyondRepair =
      due === "repair" && stays !== undefined ? `cannot follow ${CAME_BACK} (${stays})` : this.#lostFor;
    if (due !== "repair" && stays !== undefined)
      sentences.push(`cannot follow ${CAME_BACK}: ${stays}; give the broker CAP_NET_RAW, or restart the server`);
    if (due === "repair" && beyondRepair === undefined) {
      const compared = this.#compared();
      const carried = new Set(this.#carried);
      const { configured } = compared;
      const repair = yield* repairPlan({ listen, options, bound: address, carried, configured, keepsFlags });
      // What was found out is about another socket, and the present one must not be shut down.
      if (opens !== this.#opens) return;
      sentences.push(...repair.sentences, ...compared.problems());
      // Many servers remove the path of their socket before they exit.
      const unreachable = this.#socket.reachable ? undefined : PATH_LOST;
      beyondRepair = repair.beyondRepair ?? unreachable;
      // Where the former tenant still has it: a TCP socket that does not listen leaves its address to others.
      this.isGivenUp = beyondRepair !== undefined;
      if (beyondRepair !== undefined) yield [{ call: "shutdown", how: SHUT_RDWR }];
    }
    if (opens !== this.#opens) return;
    if (dues === this.#dues) {
      if (due === "repair") this.#carried = undefined;
      this.#due = undefined;
      this.#isUnset = false;
      this.#moved = undefined;
      this.#isUnits = false;
    }
    // Opened again, it is as configured, whatever has become due meanwhile.
    if (beyondRepair !== undefined) {
      const said = reopen(beyondRepair);
      if (opens === this.#opens) [this.lost, this.#lostFor] = [said, beyondRepair];
      sentences.push(said);
    }
    tell(sentences);
  }

  /** What its options should be between leases. Without a new socket to compare it with there is a problem to tell. */
  #compared(): { configured(mustBeNew: boolean): OptionState; problems(): string[] } {
    const { listen, options } = this.#socket;
    let problem: string | undefined;
    const configured = (mustBeNew: boolean): OptionState => {
      try {
        const fresh = configuredState(listen, options, this.#sys, mustBeNew);
        const name = interfaceOf(listen, options);
        const boundTo = interfaceIndex(name, this.#sys) || (name === undefined ? 0 : undefined);
        if (this.#expected?.fresh !== fresh || this.#expected.boundTo !== boundTo)
          this.#expected = {
            fresh,
            boundTo,
            state: expectedState(listen, options, { fresh, given: this.#given, boundTo }),
          };
        return this.#expected.state;
      } catch (error) {
        if (!(error instanceof SysError)) throw error;
        problem = `may have options that the server set: there is no new socket to compare it with (${error.message})`;
        return [];
      }
    };
    return { configured, problems: () => (problem === undefined ? [] : [problem]) };
  }
}

/** Binds it to that interface; gives the reason if it cannot. */
function* followPlan(index: number): SocketPlan<string | undefined> {
  const [bound] = yield [{ call: "setsockopt", level: SOL_SOCKET, option: SO_BINDTOIFINDEX, value: index }];
  const errno = Math.max(0, -(bound?.result ?? 0));
  if (errno === 0) return undefined;
  return new SysError("setsockopt SO_BINDTOIFINDEX", errno).message;
}

/** The interface that a socket is bound to: by `device`, or by the scope of its address. A name or an index. */
export function interfaceOf({ address }: ListenAddress, { device }: SocketOptions): string | undefined {
  return device ?? (address.family === "ipv6" ? address.scope : undefined);
}

/** The index of the interface of that name; 0: of none, or there is none now. */
export function interfaceIndex(name: string | undefined, sys: Native): number {
  if (name === undefined) return 0;
  return /^\d+$/.test(name) ? Number(name) : sys.ifindex(name);
}
