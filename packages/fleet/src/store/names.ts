/** Names in a store: each is a part of a path, and of a URL. */

const ARCHIVE = /^([A-Za-z0-9][A-Za-z0-9_.@-]{0,199})\.[0-9a-f]{32}$/;
const CHUNK = /^[0-9a-f]{64}$/;

/** Undefined: it is no name of an archive. */
export function subjectOf(archive: string): string | undefined {
  return ARCHIVE.exec(archive)?.[1];
}

export function isArchiveName(name: string): boolean {
  return ARCHIVE.test(name);
}

export function isChunkName(name: string): boolean {
  return CHUNK.test(name);
}
