/**
 * The types of org.varlink.service, as its text says. test/varlink/types.test.ts fails when the two differ.
 * To write this file again: `npm test -- test/varlink/types.test.ts -u`.
 */
export interface ServiceMethods {
  readonly GetInfo: {
    readonly parameters: Readonly<Record<string, never>>;
    readonly reply: {
      readonly vendor: string;
      readonly product: string;
      readonly version: string;
      readonly url: string;
      readonly interfaces: readonly string[];
    };
  };
  readonly GetInterfaceDescription: {
    readonly parameters: {
      readonly interface: string;
    };
    readonly reply: {
      readonly description: string;
    };
  };
}
