/**
 * Writes programs of eBPF, an instruction a method (bpf(2), and bpf/standardization/instruction-set.rst of the kernel's
 * documentation). For little-endian processors, as all are that berthd runs on. Pure. A program starts with its context
 * in r1. A call takes r1 to r5, gives r0, and destroys r1 to r5.
 */

/** 10 is the end of the stack of 512 bytes, which grows down. */
export type Register = 0 | 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9 | 10;

/** Bytes of one access to memory. */
export type Size = 1 | 2 | 4 | 8;

/** How two unsigned numbers compare. */
export type Comparison = "equal" | "unequal" | "above" | "at least" | "below" | "any bit of";

export type Operation = "add" | "subtract" | "and" | "or" | "shift left" | "shift right";

/** Numbers of bpf-helpers(7). */
export const HELPERS = {
  mapLookup: 1,
  loadBytes: 26,
  socketCookie: 46,
  loadBytesRelative: 68,
  releaseSocket: 86,
  assignSocket: 124,
  ringOutput: 130,
  ringReserve: 131,
  ringSubmit: 132,
  ringDiscard: 133,
} as const;

/** Types of maps (bpf_map_type in linux/bpf.h). */
export const MAP_TYPES = { hash: 1, array: 2, sockets: 18, ring: 27 } as const;

/** Where fields of struct __sk_buff are. */
export const PACKET = { length: 0, type: 4, protocol: 16, interface: 40 } as const;

/** ETH_P_IP, as {@link PACKET}.protocol has it: in the order of the network. */
export const IPV4_PROTOCOL = 0x0008;

/** loadBytesRelative: from the header of the network layer. */
export const FROM_NETWORK_HEADER = 1;

const [LD, LDX, ST, STX, JUMP, ALU64] = [0x00, 0x01, 0x02, 0x03, 0x05, 0x07] as const;
/** The operand is a register, not a number. */
const BY_REGISTER = 0x08;
const IN_MEMORY = 0x60;
const SIZES = { 1: 0x10, 2: 0x08, 4: 0x00, 8: 0x18 } as const;
const OPERATIONS = {
  add: 0x00,
  subtract: 0x10,
  or: 0x40,
  and: 0x50,
  "shift left": 0x60,
  "shift right": 0x70,
} as const;
const COMPARISONS = {
  equal: 0x10,
  above: 0x20,
  "at least": 0x30,
  "any bit of": 0x40,
  unequal: 0x50,
  below: 0xa0,
} as const;
const [MOVE, ALWAYS, CALL, EXIT] = [0xb0, 0x00, 0x80, 0x90] as const;
const TO_BIG_ENDIAN = 0xdc;
/** The number in the instruction is a map's descriptor. */
const MAP_BY_FD = 1;
const INSTRUCTION_BYTES = 8;

interface Instruction {
  readonly code: number;
  readonly to?: Register;
  readonly from?: number;
  readonly offset?: number;
  readonly value?: number;
  /** Where to jump. */
  readonly label?: string;
}

export class Program {
  readonly #instructions: Instruction[] = [];
  readonly #labels = new Map<string, number>();

  /** Names the next instruction. Throws Error if the name is used. */
  label(name: string): this {
    if (this.#labels.has(name)) throw new Error(`label ${name} is there twice`);
    this.#labels.set(name, this.#instructions.length);
    return this;
  }

  /** Sets a register to a signed number of 32 bits. */
  set(to: Register, value: number): this {
    return this.#add({ code: ALU64 | MOVE, to, value });
  }

  copy(to: Register, from: Register): this {
    return this.#add({ code: ALU64 | MOVE | BY_REGISTER, to, from });
  }

  /** Sets a register to a number of 64 bits. */
  setLong(to: Register, value: bigint): this {
    return this.#wide(to, 0, value);
  }

  /** Sets a register to a map. */
  map(to: Register, fd: number): this {
    return this.#wide(to, MAP_BY_FD, BigInt(fd));
  }

  compute(to: Register, operation: Operation, value: number): this {
    return this.#add({ code: ALU64 | OPERATIONS[operation], to, value });
  }

  computeBy(to: Register, operation: Operation, from: Register): this {
    return this.#add({ code: ALU64 | OPERATIONS[operation] | BY_REGISTER, to, from });
  }

  /** The low bytes of a register from the order of the network to the host's, or back. */
  swapFromNetwork(register: Register, bytes: 2 | 4 | 8): this {
    return this.#add({ code: TO_BIG_ENDIAN, to: register, value: bytes * 8 });
  }

  load(size: Size, to: Register, from: Register, offset: number): this {
    return this.#add({ code: LDX | IN_MEMORY | SIZES[size], to, from, offset });
  }

  store(size: Size, to: Register, offset: number, from: Register): this {
    return this.#add({ code: STX | IN_MEMORY | SIZES[size], to, from, offset });
  }

  storeNumber(size: Size, to: Register, offset: number, value: number): this {
    return this.#add({ code: ST | IN_MEMORY | SIZES[size], to, offset, value });
  }

  jump(label: string): this {
    return this.#add({ code: JUMP | ALWAYS, label });
  }

  jumpIf(one: Register, comparison: Comparison, value: number, label: string): this {
    return this.#add({ code: JUMP | COMPARISONS[comparison], to: one, value, label });
  }

  jumpIfBy(one: Register, comparison: Comparison, other: Register, label: string): this {
    return this.#add({ code: JUMP | COMPARISONS[comparison] | BY_REGISTER, to: one, from: other, label });
  }

  call(helper: number): this {
    return this.#add({ code: JUMP | CALL, value: helper });
  }

  /** Sets r0 to a new record of a ring, which has to be submitted or discarded; goes to the label if that is full. */
  reserve(ring: number, bytes: number, ifFull: string): this {
    return this.map(1, ring).set(2, bytes).set(3, 0).call(HELPERS.ringReserve).jumpIf(0, "equal", 0, ifFull);
  }

  /** Ends the program: the result is in r0. */
  exit(): this {
    return this.#add({ code: JUMP | EXIT });
  }

  /** As bpf(2) takes them. Throws Error if a label is missing. */
  encode(): Uint8Array {
    const bytes = new Uint8Array(this.#instructions.length * INSTRUCTION_BYTES);
    const view = new DataView(bytes.buffer);
    for (const [index, { code, to = 0, from = 0, offset = 0, value = 0, label }] of this.#instructions.entries()) {
      const at = index * INSTRUCTION_BYTES;
      view.setUint8(at, code);
      view.setUint8(at + 1, to | (from << 4));
      view.setInt16(at + 2, label === undefined ? offset : this.#distance(index, label), true);
      view.setInt32(at + 4, value, true);
    }
    return bytes;
  }

  #distance(index: number, label: string): number {
    const target = this.#labels.get(label);
    if (target === undefined) throw new Error(`no label ${label}`);
    return target - index - 1;
  }

  /** Two instructions: the second has the high half. */
  #wide(to: Register, from: number, value: bigint): this {
    this.#add({ code: LD | SIZES[8], to, from, value: Number(BigInt.asIntN(32, value)) });
    return this.#add({ code: 0, value: Number(BigInt.asIntN(32, value >> 32n)) });
  }

  #add(instruction: Instruction): this {
    this.#instructions.push(instruction);
    return this;
  }
}
