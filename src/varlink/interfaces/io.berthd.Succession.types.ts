/**
 * The types of io.berthd.Succession, as its text says. test/varlink/types.test.ts fails when the two differ.
 * To write this file again: `npm test -- test/varlink/types.test.ts -u`.
 */
export interface SuccessionMethods {
  readonly TakeOver: {
    readonly parameters: Readonly<Record<string, never>>;
    readonly reply: {
      readonly names: readonly string[];
    };
  };
  readonly Confirm: {
    readonly parameters: Readonly<Record<string, never>>;
    readonly reply: Readonly<Record<string, never>>;
  };
}
