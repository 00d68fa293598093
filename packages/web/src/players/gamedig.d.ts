/** What is used of gamedig, which has no types of its own. What it answers comes from strangers: it is unknown. */
declare module "gamedig" {
  export const games: Readonly<Record<string, { readonly name: string }>>;
  export const protocols: Readonly<Record<string, { readonly prototype: object }>>;
  export const GameDig: {
    query(options: {
      readonly type: string;
      readonly host: string;
      readonly port?: number;
      readonly givenPortOnly: boolean;
      readonly maxRetries: number;
      readonly socketTimeout: number;
      readonly attemptTimeout: number;
      readonly requestPlayers: boolean;
    }): Promise<unknown>;
  };
}
