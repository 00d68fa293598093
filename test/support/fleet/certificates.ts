/** Certificates for an etcd on loopback and for its clients, signed by an authority of the test's own. */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { TlsFiles } from "../../../packages/fleet/src/index.ts";
import { TestFolder } from "../broker.ts";

export class Certificates implements Disposable {
  readonly #folder = new TestFolder({ "names.ext": "subjectAltName=IP:127.0.0.1\n" });

  /** One for each name, which is its CN. */
  constructor(...names: readonly string[]) {
    const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    this.#openssl("req", "-x509", ...key, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=ca");
    for (const name of names) {
      this.#openssl("req", ...key, "-keyout", `${name}.key`, "-out", `${name}.csr`, "-subj", `/CN=${name}`);
      const sign = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "names.ext"];
      this.#openssl("x509", "-req", "-in", `${name}.csr`, "-out", `${name}.pem`, ...sign);
    }
  }

  #openssl(...args: readonly string[]): void {
    execFileSync("openssl", args, { cwd: this.#folder.path, stdio: "pipe" });
  }

  path(file: string): string {
    return join(this.#folder.path, file);
  }

  /** What a client with this name needs. */
  tls(name: string): Required<TlsFiles> {
    const read = (file: string): string => readFileSync(this.path(file), "utf8");
    return { ca: read("ca.pem"), cert: read(`${name}.pem`), key: read(`${name}.key`) };
  }

  /** The same as options of `berth-fleet`. */
  options(name: string): string[] {
    return ["--ca", this.path("ca.pem"), "--cert", this.path(`${name}.pem`), "--key", this.path(`${name}.key`)];
  }

  /** What makes etcd ask for certificates. The server has that of this name. */
  ofServer(name: string): string[] {
    const files = ["--cert-file", this.path(`${name}.pem`), "--key-file", this.path(`${name}.key`)];
    return [...files, "--trusted-ca-file", this.path("ca.pem"), "--client-cert-auth"];
  }

  [Symbol.dispose](): void {
    this.#folder[Symbol.dispose]();
  }
}
