/** Archives in chunks, and how they get from one agent to another. */
export { askForImage, type Fetched, fetchArchive, type Source } from "./fetch.ts";
export { type ImageShelf, storeServer } from "./serve.ts";
export { type Archive, ChunkStore } from "./store.ts";
