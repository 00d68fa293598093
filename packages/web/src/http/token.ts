/** Whether a request knows the token: `Authorization: Bearer TOKEN`, or TOKEN as a browser's password. Pure. */
import { createHash, timingSafeEqual } from "node:crypto";

export function knowsToken(authorization: string | undefined, token: string): boolean {
  const given = tokenIn(authorization ?? "");
  // Hashes are of one length, so the comparison takes the same time for each guess.
  return given !== undefined && timingSafeEqual(digest(given), digest(token));
}

function tokenIn(authorization: string): string | undefined {
  const [, scheme = "", credentials = ""] = /^(Bearer|Basic) +(\S+)$/i.exec(authorization) ?? [];
  if (scheme.toLowerCase() === "bearer") return credentials;
  if (scheme.toLowerCase() !== "basic") return undefined;
  const [, password] = Buffer.from(credentials, "base64").toString("utf8").split(/:(.*)/s);
  return password;
}

function digest(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}
