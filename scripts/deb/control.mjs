/** The files of a Debian package that are not installed (deb-control(5)). Texts only: it writes nothing. */

/** Debian's names of architectures. */
export const DEBIAN_ARCH = { x64: "amd64", arm64: "arm64" };

const MAINTAINER = "The berthd authors <berthd@users.noreply.github.com>";
const HOME = "https://github.com/berthd/berthd";

/** The first release of GCC whose libstdc++ has these symbols: GLIBCXX_3.4.30 came with GCC 12. */
const FIRST_GCC = { 29: 11, 30: 12, 31: 13, 32: 13, 33: 14, 34: 15 };

/** `binaries`: the contents of all native files. `kilobytes`: what the package takes on disk. */
export function control({ version, arch, node, description }, binaries, kilobytes) {
  return `Package: berthd
Version: ${version}
Architecture: ${DEBIAN_ARCH[arch]}
Maintainer: ${MAINTAINER}
Installed-Size: ${kilobytes}
Depends: ${depends(node, binaries).join(", ")}
Suggests: casync, iproute2, systemd-container
Section: net
Priority: optional
Homepage: ${HOME}
Description: keeps the ports of game servers open while the servers restart
 ${wrapped(description)}
 .
 The broker berthd opens the sockets and holds them. A server gets them when it
 starts, as file descriptors, and runs as an ordinary user. Players who connect
 during a restart wait in the queue of the socket instead of being refused.
 .
 berth starts, stops and watches servers. The package has systemd units for
 the broker, for each server, and for containers.
`;
}

/** A copyright file of machine-readable form, with the licences of bundled modules. */
export function copyright(ownLicense, modules) {
  const files = modules.map(
    ({ name, license, text }) => `
Files: usr/lib/berthd/node_modules/${name}/*
Copyright: ${holders(text)}
License: ${license}-${name}
${paragraph(text)}`,
  );
  return `Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: berthd
Source: ${HOME}

Files: *
Copyright: ${holders(ownLicense)}
License: MIT
${paragraph(ownLicense)}${files.join("")}`;
}

/** deb-changelog(5). */
export function changelog({ version, epoch }) {
  return `berthd (${version}) unstable; urgency=medium

  * Built by npm run deb. Changes of berthd are in changelog.gz.

 -- ${MAINTAINER}  ${new Date(epoch * 1000).toUTCString().replace("GMT", "+0000")}
`;
}

/** The newest symbols that the binaries ask for: what dpkg-shlibdeps(1) looks up. */
function depends(node, binaries) {
  const text = binaries.map((bytes) => bytes.toString("latin1")).join("\n");
  const newest = (symbol) => Math.max(...Array.from(text.matchAll(symbol), ([, minor]) => Number(minor)));
  const glibcxx = newest(/\0GLIBCXX_3\.4\.(\d+)(?=\0)/g);
  return [
    "debconf (>= 0.5) | debconf-2.0",
    `libc6 (>= 2.${newest(/\0GLIBC_2\.(\d+)(?=[.\0])/g)})`,
    `libstdc++6 (>= ${glibcxx < 29 ? 10 : (FIRST_GCC[glibcxx] ?? 16)})`,
    `nodejs (>= ${node})`,
  ];
}

function holders(text) {
  const found = Array.from(text.matchAll(/^\s*Copyright (?:\(c\) |© )?(.+)$/gim), ([, who]) => who.trim());
  return found.length > 0 ? found.join("\n           ") : "see below";
}

/** Continuation lines: each begins with a space, and an empty one is a dot. */
function paragraph(text) {
  const lines = text.trim().split(/\r?\n/);
  return `${lines.map((line) => ` ${line.trim() === "" ? "." : line.trimEnd()}`).join("\n")}\n`;
}

function wrapped(text) {
  return `${text}.`.replace(/(.{1,78})(?: |$)/g, "$1\n ").trimEnd();
}
