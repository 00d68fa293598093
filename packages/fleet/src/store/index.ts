/** Archives in chunks, and how they get from one agent to another. */
export { type Fetched, fetchArchive, type Source } from "./fetch.ts";
export { storeServer } from "./serve.ts";
export { type Archive, ChunkStore } from "./store.ts";
