/** The headers that every answer has, and the Content-Security-Policy of a page. Pure. */
import { createHash } from "node:crypto";

const always: Readonly<Record<string, string>> = {
  "X-Content-Type-Options": "nosniff",
  "Referrer-Policy": "no-referrer",
  "X-Frame-Options": "DENY",
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Resource-Policy": "same-origin",
  "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
};

/** Of everything that is no page: nothing may be loaded from it. */
const NOTHING = "default-src 'none'; frame-ancestors 'none'";

export function headersOf(type: string, policy: string = NOTHING): Record<string, string> {
  return { ...always, "Content-Type": type, "Content-Security-Policy": policy, "Cache-Control": "no-store" };
}

/** The policy of a page: its own files, and its inline scripts and styles by their hashes. */
export function pagePolicy(html: string): string {
  const scripts = hashes(html, /<script(?:\s+type="module")?>([\s\S]*?)<\/script>/g);
  const styles = hashes(html, /<style>([\s\S]*?)<\/style>/g);
  return [
    "default-src 'none'",
    ["script-src 'self'", ...scripts].join(" "),
    ["style-src 'self'", ...styles].join(" "),
    "img-src 'self' data:",
    "connect-src 'self'",
    "manifest-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join("; ");
}

function hashes(html: string, element: RegExp): string[] {
  return [...html.matchAll(element)].map(
    ([, text = ""]) => `'sha256-${createHash("sha256").update(text).digest("base64")}'`,
  );
}
