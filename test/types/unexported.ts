/**
 * Which types the public declarations name without exporting them. It reads the .d.ts files that tsc wrote, as text:
 * their form is regular, and TypeScript 7 has no stable interface for programs.
 */
import { dirname, join } from "node:path";

/** What one .d.ts file has at its top level. */
interface Module {
  /** Name in this file → the file and the name it is declared under, as far as one import tells. */
  readonly imports: Map<string, { readonly file: string; readonly name: string }>;
  /** Exported name → where it comes from: `export … from`. */
  readonly exports: Map<string, { readonly file: string; readonly name: string }>;
  readonly declarations: Map<string, string>;
}

/** Text without comments. A string stays as it is, whatever is in it. */
function withoutComments(text: string): string {
  return text.replace(
    /("(?:[^"\\\n]|\\.)*")|\/\*[\s\S]*?\*\/|\/\/.*/g,
    (_, string: string | undefined) => string ?? "",
  );
}

function parse(file: string, text: string): Module {
  const module: Module = { imports: new Map(), exports: new Map(), declarations: new Map() };
  for (const statement of withoutComments(text).split(/^(?=[a-z])/m)) {
    const clause = /^(import|export) (?:type )?\{([^}]*)\} from "([^"]+)"/.exec(statement);
    const declared = /^(?:export )?(?:declare )?(?:abstract )?(?:interface|type|class|function|const) (\w+)/.exec(
      statement,
    );
    if (clause !== null) {
      const [, kind, names = "", from = ""] = clause;
      // A module of Node or of a dependency exports what it exports.
      if (!from.startsWith(".")) continue;
      const source = join(dirname(file), from.replace(/\.ts$/, ".d.ts"));
      for (const name of names.split(",").map((part) => part.trim().replace(/^type /, ""))) {
        const [original = "", alias = original] = name.split(" as ");
        if (name !== "")
          (kind === "import" ? module.imports : module.exports).set(alias, { file: source, name: original });
      }
    } else if (declared !== null) {
      const [, name = ""] = declared;
      module.declarations.set(name, `${module.declarations.get(name) ?? ""}${statement}`);
    } else if (!/^\s*$|^import (type )?\w+ from "node:/.test(statement) && statement.trim() !== "export {};") {
      throw new Error(`${file}: what is this? ${statement}`);
    }
  }
  return module;
}

/**
 * The types that exported declarations of `index` name, but that `index` does not export: `where: name`, sorted.
 * `read` returns the text of a file.
 */
export function unexported(index: string, read: (file: string) => string): string[] {
  const modules = new Map<string, Module>();
  const at = (file: string): Module => {
    const known = modules.get(file) ?? parse(file, read(file));
    modules.set(file, known);
    return known;
  };
  const roots = [...at(index).exports.values()];
  const exported = new Set(roots.map(({ file, name }) => `${file}: ${name}`));
  const found = new Set<string>();
  for (const { file, name } of roots) {
    const { declarations, imports } = at(file);
    const text = declarations.get(name);
    if (text === undefined) throw new Error(`${file} declares no ${name}`);
    // Strings, private members, and names of members and parameters name no types.
    const types = text.replace(/"(?:[^"\\\n]|\\.)*"|^ +private .*$|\b\w+\??[:(]/gm, "");
    for (const [word] of types.matchAll(/\b[A-Za-z_]\w*\b/g)) {
      const target = imports.get(word) ?? (declarations.has(word) ? { file, name: word } : undefined);
      if (target !== undefined && !exported.has(`${target.file}: ${target.name}`))
        found.add(`${file}: ${name} names ${word}`);
    }
  }
  return [...found].sort();
}
