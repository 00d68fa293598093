import { expect, it } from "vitest";
import { concerns } from "../../../src/config/toml/concern.ts";
import { type BerthName, parseBerthName } from "../../../src/config/toml/name.ts";

const names = ["arena@a", "arena@b", "web"].map((text): BerthName => {
  const name = parseBerthName(text);
  if (name === undefined) throw new Error(text);
  return name;
});
const concerned = concerns(["/lib", "/etc"], names);

it.each([
  ["/etc/web.toml", ["web"]],
  ["/lib/web.toml", ["web"]],
  ["/etc/web.toml.d", ["web"]],
  ["/etc/web.toml.d/x.toml", ["web"]],
  ["/etc/web.toml.d/", ["web"]],
  ["/etc/arena@a.toml", ["arena@a"]],
  ["/etc/arena@.toml", ["arena@a", "arena@b"]],
  ["/etc/arena@.toml.d/x.toml", ["arena@a", "arena@b"]],
  ["/etc/arena.toml", []],
  ["/etc/other.toml", []],
  ["/etc/web.toml.d/x/y.toml", []],
  ["/etc/web.tomlx", []],
  ["/etc/web.toml.dx", []],
  ["/etc/web", []],
  ["/etc/x/web.toml", []],
  ["/var/web.toml", []],
  ["/etc", []],
])("%s concerns %j", (file, expected) => {
  expect(concerned(file)).toEqual(expected);
});
