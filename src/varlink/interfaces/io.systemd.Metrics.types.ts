/**
 * The types of io.systemd.Metrics, as its text says. test/varlink/types.test.ts fails when the two differ.
 * To write this file again: `npm test -- test/varlink/types.test.ts -u`.
 */
export type MetricFamilyType = "counter" | "gauge" | "string";

export interface MetricsMethods {
  readonly List: {
    readonly parameters: Readonly<Record<string, never>>;
    readonly reply: {
      readonly name: string;
      readonly value: unknown;
      readonly object?: string | null | undefined;
      readonly fields?: Readonly<Record<string, unknown>> | null | undefined;
    };
  };
  readonly Describe: {
    readonly parameters: Readonly<Record<string, never>>;
    readonly reply: {
      readonly name: string;
      readonly description: string;
      readonly type: MetricFamilyType;
    };
  };
}
