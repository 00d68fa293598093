/** What is used of pg, which has no types of its own. */
declare module "pg" {
  export interface Client {
    query(sql: string, values?: readonly unknown[]): Promise<{ readonly rows: readonly Record<string, unknown>[] }>;
    release(error?: Error | boolean): void;
  }
  export class Pool {
    constructor(options: {
      readonly connectionString: string;
      readonly max: number;
      readonly connectionTimeoutMillis: number;
      readonly query_timeout: number;
      readonly application_name: string;
    });
    on(event: "error", listener: (error: Error) => void): this;
    connect(): Promise<Client>;
    query: Client["query"];
    end(): Promise<void>;
  }
}
