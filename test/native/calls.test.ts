/** Every call of the addon but those of messages and polls: what it returns, its errno, and its refusals. */
import { spawn, spawnSync } from "node:child_process";
import {
  closeSync,
  constants as files,
  fstatSync,
  ftruncateSync,
  openSync,
  readFileSync,
  symlinkSync,
  writeSync,
} from "node:fs";
import { constants, userInfo } from "node:os";
import { afterEach, describe, expect, it } from "vitest";
import { FdHandle } from "../../src/fd.ts";
import { F_RDLCK, F_WRLCK, LOCK_EX, LOCK_SH, SEEK_DATA, SEEK_HOLE } from "../../src/file-constants.ts";
import { AT_FDCWD, type Native, native } from "../../src/native.ts";
import { AF_INET, AF_INET6, AF_UNIX, decodeSockaddr, encodeSockaddr } from "../../src/net/address.ts";
import {
  IPPROTO_TCP,
  O_NONBLOCK,
  O_PATH,
  POLLIN,
  POLLOUT,
  SO_ACCEPTCONN,
  SO_BINDTODEVICE,
  SO_PEERPIDFD,
  SO_RCVBUF,
  SO_TIMESTAMP,
  SO_TYPE,
  SOL_SOCKET,
} from "../../src/net/socket-constants.ts";
import { SOCK_DGRAM, SOCK_SEQPACKET, SOCK_STREAM } from "../../src/net/transport.ts";
import { runWithAddon } from "../support/addon-child.ts";
import { TestFolder } from "../support/broker.ts";
import { leaksNothing } from "../support/fds.ts";
import { needs } from "../support/needs.ts";
import { boundSocket, fileOf, memfd, socketPair } from "../support/sockets.ts";

const {
  E2BIG,
  EACCES,
  EADDRINUSE,
  EAFNOSUPPORT,
  EAGAIN,
  EBADF,
  ECONNREFUSED,
  EINVAL,
  ENODATA,
  ENXIO,
  ENOENT,
  ENOPROTOOPT,
  EPERM,
  ERANGE,
  ESRCH,
} = constants.errno;
const { ENOTCONN, ENOTTY, EOPNOTSUPP, ENOTSOCK } = constants.errno;
const FD_CLOEXEC = 1;
const bad = 9999;

leaksNothing();
const held: FdHandle[] = [];
function keep(handle: FdHandle): FdHandle {
  held.push(handle);
  return handle;
}

afterEach(() => {
  for (const handle of held.splice(0)) handle.close();
});

const localhost = { family: "ipv4", host: "127.0.0.1", port: 0 } as const;

function nameOf(fd: number, call: "getsockname" | "getpeername" = "getsockname"): ReturnType<typeof decodeSockaddr> {
  const bytes = new Uint8Array(128);
  const length = native[call](fd, bytes);
  expect(length).toBeGreaterThan(0);
  return decodeSockaddr(bytes.subarray(0, length));
}

describe("socket.cc", () => {
  it("socket and socketpair give non-blocking, close-on-exec sockets of the type asked for", () => {
    const made = [AF_INET, AF_INET6, AF_UNIX].map((domain) =>
      keep(FdHandle.adopt(native.socket(domain, SOCK_DGRAM, 0))),
    );
    const pair = new Int32Array(2);
    expect(native.socketpair(AF_UNIX, SOCK_SEQPACKET, pair)).toBe(0);
    const ends = [...pair].map((fd) => keep(FdHandle.adopt(fd)));
    const type = new Int32Array(1);
    for (const { fd } of [...made, ...ends]) {
      expect(native.getfd(fd)).toBe(FD_CLOEXEC);
      expect(native.getfl(fd) & O_NONBLOCK).toBe(O_NONBLOCK);
      expect(native.getsockopt(fd, SOL_SOCKET, SO_TYPE, type)).toBe(0);
      expect(type[0]).toBe(ends.some((end) => end.fd === fd) ? SOCK_SEQPACKET : SOCK_DGRAM);
    }
    expect(native.socket(12345, SOCK_STREAM, 0)).toBe(-EAFNOSUPPORT);
    expect(native.socketpair(AF_INET, SOCK_STREAM, pair)).toBe(-EOPNOTSUPP);
    expect(() => native.socketpair(AF_UNIX, SOCK_STREAM, new Int32Array(1))).toThrow(TypeError);
  });

  it("bind, listen, connect, accept, getsockname, getpeername and shutdown reach a peer", () => {
    const listener = keep(boundSocket("tcp://127.0.0.1:0"));
    expect(native.accept(listener.fd)).toBe(-EINVAL);
    expect(native.listen(listener.fd, 8)).toBe(0);
    expect(native.accept(listener.fd)).toBe(-EAGAIN);
    const address = nameOf(listener.fd);
    expect(address).toMatchObject({ family: "ipv4", host: "127.0.0.1" });
    const client = keep(FdHandle.adopt(native.socket(AF_INET, SOCK_STREAM, 0)));
    expect(native.getpeername(client.fd, new Uint8Array(16))).toBe(-ENOTCONN);
    native.connect(client.fd, encodeSockaddr(address ?? localhost)); // 0, or EINPROGRESS
    expect(native.pollNow(listener.fd, POLLIN)).toBe(POLLIN);
    const accepted = keep(FdHandle.adopt(native.accept(listener.fd)));
    expect(native.getfd(accepted.fd)).toBe(FD_CLOEXEC);
    expect(native.getfl(accepted.fd) & O_NONBLOCK).toBe(O_NONBLOCK);
    expect(nameOf(accepted.fd, "getpeername")).toEqual(nameOf(client.fd));
    expect(native.shutdown(client.fd, 1)).toBe(0);
    expect(native.recvmsg(accepted.fd, new Uint8Array(1), 0, new Int32Array(255))).toBe(0);
  });

  it("bind, connect, listen and shutdown say why not", () => {
    const listener = keep(boundSocket("tcp://127.0.0.1:0", 1));
    const address = nameOf(listener.fd) ?? localhost;
    const second = keep(FdHandle.adopt(native.socket(AF_INET, SOCK_STREAM, 0)));
    expect(native.bind(second.fd, encodeSockaddr(address))).toBe(-EADDRINUSE);
    expect(native.bind(second.fd, new Uint8Array(1))).toBe(-EINVAL);
    expect(native.shutdown(second.fd, 2)).toBe(-ENOTCONN);
    const unix = keep(FdHandle.adopt(native.socket(AF_UNIX, SOCK_STREAM, 0)));
    const nobody = encodeSockaddr({ family: "unix", path: `berthd-nobody-${process.pid}`, abstract: true });
    expect(native.connect(unix.fd, nobody)).toBe(-ECONNREFUSED);
    const nowhere = encodeSockaddr({ family: "unix", path: "/nonexistent/socket", abstract: false });
    expect(native.connect(unix.fd, nowhere)).toBe(-ENOENT);
    const file = keep(memfd());
    expect(native.listen(file.fd, 1)).toBe(-ENOTSOCK);
    expect(native.accept(bad)).toBe(-EBADF);
  });

  it("getsockname gives the true length of an address that did not fit", () => {
    const socket = keep(boundSocket(`unix://@berthd-length-${process.pid}`));
    const whole = new Uint8Array(128);
    const length = native.getsockname(socket.fd, whole);
    const part = new Uint8Array(4);
    expect(native.getsockname(socket.fd, part)).toBe(length);
    expect(part).toEqual(whole.subarray(0, 4));
  });

  it("setsockopt takes an int or bytes, getsockopt gives an int", () => {
    const socket = keep(FdHandle.adopt(native.socket(AF_INET, SOCK_STREAM, 0)));
    const value = new Int32Array(1);
    expect(native.setsockopt(socket.fd, SOL_SOCKET, SO_RCVBUF, 20_000)).toBe(0);
    expect(native.getsockopt(socket.fd, SOL_SOCKET, SO_RCVBUF, value)).toBe(0);
    expect(value[0]).toBe(40_000); // socket(7): the kernel doubles it
    expect(native.setsockopt(socket.fd, SOL_SOCKET, SO_BINDTODEVICE, Buffer.from("lo\0"))).toBe(0);
    expect(native.getsockopt(socket.fd, SOL_SOCKET, SO_ACCEPTCONN, value)).toBe(0);
    expect(value[0]).toBe(0);
    // 2³¹ and more are an unsigned option's: here, far too many seconds (tcp(7), TCP_KEEPIDLE).
    expect(native.setsockopt(socket.fd, IPPROTO_TCP, 4, 2 ** 32 - 1)).toBe(-EINVAL);
    expect(native.setsockopt(socket.fd, SOL_SOCKET, 12345, 1)).toBe(-ENOPROTOOPT);
    expect(native.getsockopt(bad, SOL_SOCKET, SO_TYPE, value)).toBe(-EBADF);
    expect(() => native.getsockopt(socket.fd, SOL_SOCKET, SO_TYPE, new Int32Array(0))).toThrow(TypeError);
  });

  it("peercred, peergroups and SO_PEERPIDFD name the process at the other end", () => {
    const [left, right] = socketPair().map(keep);
    if (left === undefined || right === undefined) throw new Error("no pair");
    const credentials = new Int32Array(3);
    expect(native.peercred(left.fd, credentials)).toBe(0);
    expect([...credentials]).toEqual([process.pid, process.geteuid?.(), process.getegid?.()]);
    const groups = new Uint32Array(64);
    const count = native.peergroups(left.fd, groups);
    const own = (process.getgroups?.() ?? []).sort();
    expect([...groups.subarray(0, count)].sort()).toEqual(expect.arrayContaining(own.slice(0, count)));
    const pidfd = new Int32Array(1);
    expect(native.getsockopt(left.fd, SOL_SOCKET, SO_PEERPIDFD, pidfd)).toBe(0);
    const peer = keep(FdHandle.adopt(pidfd[0] ?? -1));
    expect(readFileSync(`/proc/self/fdinfo/${peer.fd}`, "utf8")).toMatch(new RegExp(`^Pid:\\s+${process.pid}$`, "m"));
    expect(() => native.peercred(left.fd, new Int32Array(2))).toThrow(TypeError);
    expect(native.peercred(bad, credentials)).toBe(-EBADF);
    expect(native.peergroups(bad, groups)).toBe(-EBADF);
  });

  it("peergroups says how many there are when they do not fit, and writes none", needs("root", "setpriv"), () => {
    // A child with three supplementary groups connects to us; setpriv keeps them.
    const listener = keep(boundSocket(`unix://@berthd-groups-${process.pid}`, 4));
    const script = `const sys = require("node-gyp-build")(process.cwd());
      const fd = sys.socket(1, 1, 0);
      const name = Buffer.from("\\x01\\0\\0berthd-groups-${process.pid}", "latin1");
      process.exit(-sys.connect(fd, name));`;
    const child = spawnSync("setpriv", ["--groups", "11,12,13", "--", process.execPath, "-e", script]);
    expect({ status: child.status, stderr: child.stderr.toString() }).toEqual({ status: 0, stderr: "" });
    const accepted = keep(FdHandle.adopt(native.accept(listener.fd)));
    const small = new Uint32Array(2).fill(7);
    expect(native.peergroups(accepted.fd, small)).toBe(3);
    expect([...small]).toEqual([7, 7]);
    const large = new Uint32Array(8);
    expect(native.peergroups(accepted.fd, large)).toBe(3);
    expect([...large.subarray(0, 3)]).toEqual([11, 12, 13]);
  });

  it("lastReceived moves with each datagram that is read, through a duplicate too", () => {
    const socket = keep(boundSocket("udp://127.0.0.1:0"));
    const copy = keep(FdHandle.adopt(native.dup(socket.fd)));
    const stamp = new Int32Array(4);
    expect(native.lastReceived(copy.fd, stamp)).toBe(-ENOENT);
    const address = encodeSockaddr(nameOf(socket.fd) ?? localhost);
    const sender = keep(FdHandle.adopt(native.socket(AF_INET, SOCK_DGRAM, 0)));
    expect(native.connect(sender.fd, address)).toBe(0);
    const none = new Int32Array(0);
    expect(native.sendmsg(sender.fd, new Uint8Array(1), 0, none, 0)).toBe(1);
    expect(native.lastReceived(copy.fd, stamp)).toBe(-ENOENT); // it has come, and nobody has read it
    expect(native.recvmsg(socket.fd, new Uint8Array(1), 0, new Int32Array(255))).toBe(1);
    expect(native.lastReceived(copy.fd, stamp)).toBe(0);
    const first = [...stamp];
    expect(first[0]).toBeGreaterThan(0);
    expect(native.lastReceived(copy.fd, stamp)).toBe(0);
    expect([...stamp]).toEqual(first);
    expect(native.sendmsg(sender.fd, new Uint8Array(1), 0, none, 0)).toBe(1);
    expect(native.recvmsg(socket.fd, new Uint8Array(1), 0, new Int32Array(255))).toBe(1);
    expect(native.lastReceived(copy.fd, stamp)).toBe(0);
    expect([...stamp]).not.toEqual(first);
  });

  it("lastReceived: nothing of a UNIX socket, and nothing once SO_TIMESTAMP is set", () => {
    const unix = keep(FdHandle.adopt(native.socket(AF_UNIX, SOCK_DGRAM, 0)));
    expect(native.lastReceived(unix.fd, new Int32Array(4))).toBe(-ENOTTY);
    const socket = keep(boundSocket("udp://127.0.0.1:0"));
    expect(native.lastReceived(socket.fd, new Int32Array(4))).toBe(-ENOENT);
    expect(native.setsockopt(socket.fd, SOL_SOCKET, SO_TIMESTAMP, 1)).toBe(0);
    const sender = keep(FdHandle.adopt(native.socket(AF_INET, SOCK_DGRAM, 0)));
    expect(native.connect(sender.fd, encodeSockaddr(nameOf(socket.fd) ?? localhost))).toBe(0);
    expect(native.sendmsg(sender.fd, new Uint8Array(1), 0, new Int32Array(0), 0)).toBe(1);
    expect(native.recvmsg(socket.fd, new Uint8Array(1), 0, new Int32Array(255))).toBe(1);
    expect(native.lastReceived(socket.fd, new Int32Array(4))).toBe(-ENOENT);
    expect(() => native.lastReceived(socket.fd, new Int32Array(3))).toThrow(TypeError);
  });

  it("ifindex knows lo, and gives 0 for none", () => {
    expect(native.ifindex("lo")).toBeGreaterThan(0);
    expect(native.ifindex("berthd-no-such")).toBe(0);
    expect(() => native.ifindex("lo\0")).toThrow("without NUL");
  });
});

describe("descriptor.cc", () => {
  it("close closes once", () => {
    const fd = native.memfd("once");
    expect(native.close(fd)).toBe(0);
    expect(native.close(fd)).toBe(-EBADF);
  });

  it("dup gives another descriptor of the same file, close-on-exec and not below 3", () => {
    const file = keep(memfd());
    const twin = keep(FdHandle.adopt(native.dup(file.fd)));
    expect(twin.fd).toBeGreaterThanOrEqual(3);
    expect(fileOf(twin)).toBe(fileOf(file));
    expect(native.getfd(twin.fd)).toBe(FD_CLOEXEC);
    expect(native.dup(bad)).toBe(-EBADF);
  });

  it("getfd, setfd, getfl and setfl read and write flags", () => {
    const [left] = socketPair().map(keep);
    const fd = left?.fd ?? -1;
    expect(native.setfd(fd, 0)).toBe(0);
    expect(native.getfd(fd)).toBe(0);
    expect(native.setfl(fd, native.getfl(fd) & ~O_NONBLOCK)).toBe(0);
    expect(native.getfl(fd) & O_NONBLOCK).toBe(0);
    expect([native.getfd(bad), native.setfd(bad, 0), native.getfl(bad), native.setfl(bad, 0)]).toEqual(
      new Array(4).fill(-EBADF),
    );
  });

  it("pollNow says what holds now", () => {
    const [left, right] = socketPair().map(keep);
    if (left === undefined || right === undefined) throw new Error("no pair");
    expect(native.pollNow(left.fd, POLLIN | POLLOUT)).toBe(POLLOUT);
    native.sendmsg(right.fd, Buffer.from("x"), 0, new Int32Array(0), 0);
    expect(native.pollNow(left.fd, POLLIN)).toBe(POLLIN);
    expect(native.pollNow(bad, POLLIN)).toBe(0x20); // POLLNVAL: poll(2) itself succeeds
  });

  it("pollFor waits for what is to come, and not beyond its time", () => {
    const [left, right] = socketPair().map(keep);
    if (left === undefined || right === undefined) throw new Error("no pair");
    expect(native.pollFor(left.fd, POLLIN, 1)).toBe(0);
    const child = spawn("sh", ["-c", "echo x >&3"], { stdio: ["ignore", "ignore", "ignore", right.fd] });
    expect(native.pollFor(left.fd, POLLIN, 10_000)).toBe(POLLIN);
    expect(native.pollFor(left.fd, POLLIN, -1)).toBe(-EINVAL);
    child.unref();
  });

  it("flock is refused while another open file has the lock, and a dup has the same one", () => {
    const path = new URL(import.meta.url).pathname;
    const first = keep(FdHandle.adopt(openSync(path, "r")));
    const second = keep(FdHandle.adopt(openSync(path, "r")));
    expect(native.flock(first.fd, LOCK_EX)).toBe(0);
    expect(native.flock(keep(first.dup()).fd, LOCK_EX)).toBe(0);
    expect(native.flock(second.fd, LOCK_EX)).toBe(-EAGAIN);
    expect(native.flock(second.fd, LOCK_SH)).toBe(-EAGAIN);
    expect(native.flock(first.fd, LOCK_SH)).toBe(0);
    expect(native.flock(second.fd, LOCK_SH)).toBe(0);
    expect(native.flock(first.fd, LOCK_EX)).toBe(-EAGAIN);
    expect(native.flock(bad, LOCK_EX)).toBe(-EBADF);
    expect(native.flock(first.fd, 0)).toBe(-EINVAL);
  });

  it("recordLock is refused while another open file has the lock, though of the same process; a dup has the same one", () => {
    using folder = new TestFolder({ lock: "" });
    const path = `${folder.path}/lock`;
    const first = keep(FdHandle.adopt(openSync(path, "r+")));
    const second = keep(FdHandle.adopt(openSync(path, "r+")));
    expect(native.recordLock(first.fd, F_WRLCK)).toBe(0);
    expect(native.recordLock(keep(first.dup()).fd, F_WRLCK)).toBe(0);
    expect(native.recordLock(second.fd, F_WRLCK)).toBe(-EAGAIN);
    expect(native.recordLock(second.fd, F_RDLCK)).toBe(-EAGAIN);
    expect(native.recordLock(first.fd, F_RDLCK)).toBe(0);
    expect(native.recordLock(second.fd, F_RDLCK)).toBe(0);
    expect(native.recordLock(first.fd, F_WRLCK)).toBe(-EAGAIN);
    expect(native.recordLock(keep(FdHandle.adopt(openSync(path, "r"))).fd, F_WRLCK)).toBe(-EBADF);
    expect(native.recordLock(first.fd, 7)).toBe(-EINVAL);
    expect(native.recordLock(bad, F_RDLCK)).toBe(-EBADF);
  });

  it("a sealed memfd cannot be written, grown, shrunk or unsealed", () => {
    const [F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_WRITE] = [1, 2, 4, 8];
    const all = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
    const file = keep(memfd("plan"));
    expect(native.getfd(file.fd)).toBe(FD_CLOEXEC);
    writeSync(file.fd, "plan");
    expect(native.addSeals(file.fd, all)).toBe(0);
    expect(() => writeSync(file.fd, "more")).toThrow("EPERM");
    expect(() => ftruncateSync(file.fd, 99)).toThrow("EPERM");
    expect(() => ftruncateSync(file.fd, 1)).toThrow("EPERM");
    expect(native.addSeals(file.fd, F_SEAL_WRITE)).toBe(-EPERM);
    expect(native.addSeals(bad, F_SEAL_WRITE)).toBe(-EBADF);
    expect(native.memfd("x".repeat(300))).toBe(-EINVAL);
  });
});

describe("process.cc", () => {
  it("pidfdOpen and pidfdSignal know the living from the dead", () => {
    const own = keep(FdHandle.adopt(native.pidfdOpen(process.pid)));
    expect(native.pidfdSignal(own.fd, 0)).toBe(0);
    expect(native.pidfdSignal(own.fd, 12345)).toBe(-EINVAL);
    expect(native.pidfdSignal(bad, 0)).toBe(-EBADF);
    const { pid } = spawnSync("true");
    expect(native.pidfdOpen(pid)).toBe(-ESRCH);
    expect(native.pidfdOpen(-1)).toBe(-EINVAL);
  });

  it("pidfdGetfd duplicates a descriptor of a process, close-on-exec", () => {
    const own = keep(FdHandle.adopt(native.pidfdOpen(process.pid)));
    const file = keep(FdHandle.adopt(native.memfd("theirs")));
    const copy = keep(FdHandle.adopt(native.pidfdGetfd(own.fd, file.fd, 5000)));
    expect(fstatSync(copy.fd).ino).toBe(fstatSync(file.fd).ino);
    expect(native.getfd(copy.fd)).toBe(FD_CLOEXEC);
    expect(native.pidfdGetfd(own.fd, bad, 5000)).toBe(-EBADF);
    expect(native.pidfdGetfd(bad, 0, 5000)).toBe(-EBADF);
  });

  it("readProc reads a file as far as there is room", () => {
    const bytes = Buffer.alloc(4096);
    const size = native.readProc("/proc/self/comm", bytes, 5000);
    expect(bytes.toString("latin1", 0, size)).toBe(readFileSync("/proc/self/comm", "latin1"));
    expect(native.readProc("/proc/self/comm", bytes.subarray(0, 1), 5000)).toBe(1);
  });

  it("kcmp tells the same open file from one that was opened again", () => {
    const file = keep(FdHandle.adopt(native.memfd("a file")));
    const same = keep(FdHandle.adopt(native.dup(file.fd)));
    const again = keep(FdHandle.adopt(openSync(`/proc/self/fd/${file.fd}`, "r")));
    expect(native.kcmp(file.fd, same.fd)).toBe(0);
    expect([1, 2]).toContain(native.kcmp(file.fd, again.fd));
    expect(native.kcmp(file.fd, bad)).toBe(-EBADF);
  });

  it("passwd finds a user by name and by number, with groups; undefined for nobody", () => {
    const root = native.passwd("root");
    expect(root).toEqual({
      name: "root",
      uid: 0,
      gid: 0,
      groups: expect.arrayContaining([0]),
      home: "/root",
      shell: expect.any(String),
    });
    expect(native.passwd(0)).toEqual(root);
    const me = native.passwd(userInfo().uid);
    expect(me).toMatchObject({ name: userInfo().username, home: userInfo().homedir });
    expect(native.passwd("berthd-no-such-user")).toBeUndefined();
    expect(native.passwd(3_999_999_999)).toBeUndefined();
  });

  it("group finds a group by name and by number; undefined for none", () => {
    expect(native.group("root")).toEqual({ name: "root", gid: 0 });
    expect(native.group(0)).toEqual({ name: "root", gid: 0 });
    expect(native.group("berthd-no-such-group")).toBeUndefined();
    expect(native.group(3_999_999_999)).toBeUndefined();
  });

  it.each([Number.NaN, -1, 1.5, 2 ** 32, Number.POSITIVE_INFINITY])("passwd and group refuse the id %s", (id) => {
    expect(() => native.passwd(id)).toThrow(TypeError);
    expect(() => native.group(id)).toThrow(TypeError);
  });

  it("exec becomes the program in the same process, with 0 to 2 open and all others closed", async () => {
    const extra = openSync("/dev/null", "r");
    const { stdout, stderr, code } = await runWithAddon(
      `sys.memfd("held"); sys.setfd(3, 0);
       require("node:fs").writeSync(1, process.pid + "\\n");
       sys.exec("/bin/sh", ["sh", "-c", 'echo $$; echo $GREETING; for f in $(seq 0 40); do [ ! -e /proc/$$/fd/$f ] || echo -n " $f"; done; exit 7'], ["GREETING=hello"], 0);`,
      { fds: [extra] },
    );
    closeSync(extra);
    const [pid, same, greeting, fds] = stdout.split("\n");
    expect({ stderr, code }).toEqual({ stderr: "", code: 7 });
    expect(same).toBe(pid);
    expect([greeting, fds]).toEqual(["hello", " 0 1 2"]);
  });

  it("exec returns the errno when the program cannot be started", async () => {
    const { stdout } = await runWithAddon(
      `console.log(JSON.stringify([
         sys.exec("/nonexistent", ["x"], [], 0), sys.exec("/etc/passwd", ["x"], [], 0),
         sys.exec("/bin/true", ["x", "y".repeat(1 << 20)], [], 0),
       ]));`,
    );
    expect(JSON.parse(stdout)).toEqual([-ENOENT, -EACCES, -E2BIG]);
  });
});

describe("xattr.cc", () => {
  it("sets, gives and lists attributes, says when they do not fit, and reaches a link itself by an open one", () => {
    using folder = new TestFolder({ file: "" });
    const path = Buffer.from(`${folder.path}/file`);
    const name = Buffer.from("user.note");
    expect(native.setxattr(path, name, Buffer.from([0x00, 0xff, 0x41]))).toBe(0);
    const buffer = Buffer.alloc(256);
    const names = native.listxattr(path, buffer);
    expect(buffer.toString("latin1", 0, names).split("\0")).toContain("user.note");
    expect(native.getxattr(path, name, buffer)).toBe(3);
    expect([...buffer.subarray(0, 3)]).toEqual([0x00, 0xff, 0x41]);
    expect(native.getxattr(path, name, new Uint8Array(2))).toBe(-ERANGE);
    expect(native.listxattr(path, new Uint8Array(2))).toBe(-ERANGE);
    expect(native.getxattr(path, Buffer.from("user.none"), buffer)).toBe(-ENODATA);
    expect(native.listxattr(Buffer.from("/nonexistent"), buffer)).toBe(-ENOENT);
    symlinkSync(path, `${folder.path}/link`);
    using link = FdHandle.adopt(
      native.openat2(AT_FDCWD, Buffer.from(`${folder.path}/link`), O_PATH | files.O_NOFOLLOW, 0, 0),
    );
    const listed = native.listxattr(Buffer.from(`/proc/self/fd/${link.fd}`), buffer);
    expect(buffer.toString("latin1", 0, listed)).not.toContain("user.note");
  });
});

describe("descriptor.cc", () => {
  it("lseek finds data and holes", () => {
    using folder = new TestFolder({ file: "" });
    const fd = openSync(`${folder.path}/file`, "r+");
    ftruncateSync(fd, 1 << 20);
    expect(native.lseek(fd, 0, SEEK_DATA)).toBe(-ENXIO);
    writeSync(fd, "x", (1 << 20) - 1);
    expect(native.lseek(fd, 0, SEEK_DATA)).toBeGreaterThan(0);
    expect(native.lseek(fd, 0, SEEK_HOLE)).toBe(0);
    closeSync(fd);
  });
});

/** Valid arguments for each call, on descriptors that are not open; each one is then made wrong in turn. */
const signatures: Readonly<Record<string, readonly unknown[]>> = {
  sendmsg: [bad, new Uint8Array(1), 0, new Int32Array(0), 0],
  recvmsg: [bad, new Uint8Array(1), 0, new Int32Array(255)],
  peekmsg: [bad, new Uint8Array(1), 0, new Int32Array(255)],
  recvframe: [bad, new Uint8Array(1), 0, new Int32Array(255)],
  recvbytes: [bad, new Uint8Array(1), 0],
  peeksender: [bad, new Int32Array(3)],
  getsockopts: [bad, new Int32Array(3), new Int32Array(2)],
  recvcred: [bad, new Uint8Array(1), 0, new Int32Array(255), new Int32Array(4)],
  socket: [12345, 1, 0],
  socketpair: [12345, 1, new Int32Array(2)],
  bind: [bad, new Uint8Array(16)],
  connect: [bad, new Uint8Array(16)],
  listen: [bad, 1],
  accept: [bad],
  shutdown: [bad, 1],
  getsockname: [bad, new Uint8Array(16)],
  getpeername: [bad, new Uint8Array(16)],
  setsockopt: [bad, 1, 2, 1],
  getsockopt: [bad, 1, 2, new Int32Array(1)],
  peercred: [bad, new Int32Array(3)],
  peergroups: [bad, new Uint32Array(3)],
  ifindex: ["berthd-no-such"],
  unixFile: [bad],
  lastReceived: [bad, new Int32Array(4)],
  close: [bad],
  closeForeign: [bad],
  dup: [bad],
  getfl: [bad],
  setfl: [bad, 0],
  getfd: [bad],
  setfd: [bad, 0],
  pollNow: [bad, 0],
  pollFor: [bad, 0, 0],
  flock: [bad, 2],
  recordLock: [bad, 0],
  statNow: [bad, new Uint32Array(5)],
  lseek: [bad, 0, 0],
  ficlone: [bad, bad],
  memfd: ["x".repeat(300)],
  addSeals: [bad, 0],
  getSeals: [bad],
  openat2: [bad, Buffer.from("x"), 0, 0, 0],
  mkdirat: [bad, Buffer.from("x"), 0],
  unlinkat: [bad, Buffer.from("x"), 0],
  renameat2: [bad, Buffer.from("x"), bad, Buffer.from("y"), 0],
  symlinkat: [Buffer.from("x"), bad, Buffer.from("y")],
  readlinkat: [bad, Buffer.from("x"), new Uint8Array(1)],
  getdents64: [bad, new Uint8Array(1)],
  mknodat: [bad, Buffer.from("x"), 0, 0],
  utimens: [Buffer.from("/nonexistent"), 0, 0, 0, 0],
  listxattr: [Buffer.from("/nonexistent"), new Uint8Array(1)],
  getxattr: [Buffer.from("/nonexistent"), Buffer.from("user.x"), new Uint8Array(1)],
  setxattr: [Buffer.from("/nonexistent"), Buffer.from("user.x"), new Uint8Array(1)],
  pidfdOpen: [-1],
  pidfdSignal: [bad, 0],
  pidfdSignalGroup: [bad, 0],
  kcmp: [bad, bad],
  pidfdGetfd: [bad, 0, 5000],
  readSockets: [-1, new Uint8Array(1), 5000],
  readProc: ["/nonexistent", new Uint8Array(1), 5000],
  exec: ["/nonexistent", ["x"], ["A=b"], 0],
  openTree: [bad, "x", 0],
  mountSetattr: [bad, 0, -1],
  fsopen: ["berthd-no-such"],
  fsconfigFlag: [bad, "x"],
  fsconfigString: [bad, "x", "y"],
  fsconfigFd: [bad, "x", bad],
  fsconfigCreate: [bad],
  fsmount: [bad, 0],
  bpfMap: [0x7fffffff, 4, 4, 1],
  bpfSet: [bad, new Uint8Array(4), new Uint8Array(4)],
  bpfGet: [bad, new Uint8Array(4), new Uint8Array(4)],
  bpfDelete: [bad, new Uint8Array(4)],
  bpfSocketFilter: [new Uint8Array(8), new Uint8Array(0)],
  bpfLookup: [new Uint8Array(8), new Uint8Array(0)],
  bpfLinkLookup: [bad, bad],
  bpfGroupFilter: [new Uint8Array(8), new Uint8Array(0)],
  bpfLinkGroup: [bad, bad],
  filterLength: [bad],
  epollCreate: [0x7fffffff],
  epollControl: [bad, 1, bad, 1, 0],
  epollReady: [bad, new Uint32Array(1)],
  inotifyInit: [0x7fffffff],
  inotifyAddWatch: [bad, "/nonexistent", 1],
  userns: [2 ** 32 - 1, 2, 0],
  passwd: ["berthd-no-such-user"],
  group: ["berthd-no-such-group"],
  recvfrom: [bad, new Uint8Array(1), new Uint8Array(16), 0],
  sendto: [bad, new Uint8Array(1), new Uint8Array(16)],
  acceptWithin: [bad, 1],
  exitNow: [0],
};

/** Those that do not return. */
const final: readonly string[] = ["exec", "exitNow"];
/** Classes, in poll, interceptor and bpf.test.ts; and a call without arguments, in test/doorman/process.test.ts. */
const elsewhere: readonly string[] = ["Poll", "Interceptor", "BpfRing", "confineDoorman"];

function call(name: string, args: readonly unknown[]): unknown {
  return Reflect.apply(Reflect.get(native, name), native, args);
}

describe("arguments of the wrong type", () => {
  it("are checked for every call there is", () => {
    const calls = Object.keys(native satisfies Native).filter((name) => !elsewhere.includes(name));
    expect(Object.keys(signatures).sort()).toEqual(calls.sort());
  });

  /** Arguments of 64 bits: offsets and times. */
  const wide: Readonly<Record<string, readonly number[]>> = { lseek: [1], utimens: [1, 3] };

  it.each(Object.keys(signatures))("%s refuses them with a TypeError", (name) => {
    const valid = signatures[name] ?? [];
    if (!final.includes(name)) expect(() => call(name, valid)).not.toThrow();
    valid.forEach((right, index) => {
      const lone = valid.length === 1 && (name === "passwd" || name === "group");
      const wrong = [undefined, null, {}, Symbol("x"), true, 1n, new Float64Array(4), [1], ["a\0b"]];
      if (typeof right === "number") {
        wrong.push("0", Number.NaN, 1.5, Number.POSITIVE_INFINITY);
        wrong.push(...(wide[name]?.includes(index) ? [2 ** 63, -(2 ** 63)] : [2 ** 32, -(2 ** 31) - 1]));
      }
      if (typeof right !== "number" && !lone) wrong.push(0);
      if (typeof right === "string") wrong.push("a\0b");
      for (const value of wrong) {
        const args = valid.map((argument, at) => (at === index ? value : argument));
        expect(() => call(name, args), `${name} argument ${index + 1} = ${String(value)}`).toThrow(TypeError);
      }
    });
    expect(() => call(name, [])).toThrow(TypeError);
  });

  it("are found before the first side effect: nothing is sent, bound or closed", () => {
    const [left, right] = socketPair().map(keep);
    if (left === undefined || right === undefined) throw new Error("no pair");
    expect(() => call("sendmsg", [left.fd, Buffer.from("x"), 0, new Int32Array(1), "1"])).toThrow(TypeError);
    expect(native.pollNow(right.fd, POLLIN)).toBe(0);
    expect(() => call("close", [String(left.fd)])).toThrow(TypeError);
    expect(native.getfd(left.fd)).toBe(FD_CLOEXEC);
    expect(() => call("setfd", [left.fd, undefined])).toThrow(TypeError);
    expect(native.getfd(left.fd)).toBe(FD_CLOEXEC);
  });
});
