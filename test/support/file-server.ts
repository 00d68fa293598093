/** Files of a folder over http on loopback, for clients that fetch chunks. */
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { join, normalize } from "node:path";

export class FileServer implements AsyncDisposable {
  readonly url: string;
  /** Paths that were asked for and are there, in order. */
  readonly requests: string[] = [];
  /** Called before each file is sent; false leaves the client without an answer. */
  onRequest: (path: string) => boolean = () => true;
  readonly #server: Server;

  private constructor(server: Server, folder: string, port: number) {
    this.#server = server;
    this.url = `http://127.0.0.1:${port}`;
    server.on("request", ({ url = "/" }, response) => {
      try {
        const bytes = readFileSync(join(folder, normalize(url)));
        if (!this.onRequest(url)) return;
        this.requests.push(url);
        response.end(bytes);
      } catch {
        response.writeHead(404).end();
      }
    });
  }

  static async start(folder: string): Promise<FileServer> {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const address = server.address();
    return new FileServer(server, folder, typeof address === "object" ? (address?.port ?? 0) : 0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, "close");
  }
}
