/**
 * The plots of each benchmark, by its name: growth over berths, files, descriptors, clients and leases. Pure: a result
 * in, plots out.
 */

const linear = (label) => ({ label });
const logarithmic = (label) => ({ label, log: true });

/** One line for each value of `key` in the rows, of the rows' values `x` and `y`. */
function linesBy(rows, key, x, y) {
  const names = [...new Set(rows.map((row) => row[key]))];
  return names.map((name) =>
    line(
      name,
      rows.filter((row) => row[key] === name && row[y] !== undefined),
      x,
      y,
    ),
  );
}

function line(name, rows, x, y) {
  return { name, points: rows.map((row) => [row[x], row[y]]) };
}

/** What plot() draws, and the name of its file. */
const picture = (file, title, x, y, series) => ({ file, title, x, y, series });

function scale({ rows }) {
  const berths = linear("berths");
  const milliseconds = linear("milliseconds");
  const different = rows.filter(({ way }) => way === "different ports");
  const of = (name, y) => line(name, different, "berths", y);
  const starts = linesBy(rows, "way", "berths", "start").map((one) => ({ ...one, name: `start, ${one.name}` }));
  const reloads = [of("reload", "reload"), of("longest call of another client", "stall")];
  const memory = [of("ready", "memory"), of("after the reloads", "after")];
  const title = "Start of a broker, and a check of its configuration";
  return [
    picture("scale-start", title, berths, milliseconds, [...starts, of("berth check", "check")]),
    picture("scale-reload", "A reload after one berth has changed", berths, milliseconds, reloads),
    picture("scale-memory", "Resident memory of a broker", berths, linear("MiB"), memory),
  ];
}

function root({ rows }) {
  const shown = ["idmap", "idmap, built when asked", "metacopy", "metacopy, first lease", "cp -a"];
  const timed = rows.filter(({ way }) => shown.includes(way)).map((row) => ({ ...row, ms: row.p50 / 1000 }));
  const [files, time] = [logarithmic("files in the image"), logarithmic("milliseconds")];
  const series = linesBy(timed, "way", "files", "ms");
  return [picture("root-files", "A lease with a root, by the size of its image", files, time, series)];
}

function shift({ rows }) {
  const series = linesBy(rows, "way", "files", "time");
  const [files, time] = [linear("files in the tree"), linear("seconds")];
  return [picture("shift-files", "Shifting the owners of a tree", files, time, series)];
}

function growth({ descriptors, clients }) {
  const times = linesBy(descriptors, "contender", "descriptors", "p50");
  const rates = linesBy(clients, "contender", "clients", "rate");
  const [count, time] = [linear("descriptors"), linear("microseconds (p50)")];
  const [atOnce, rate] = [linear("clients at once"), linear("calls per second")];
  return [
    picture("growth-descriptors", "An acquire, by the number of descriptors", count, time, times),
    picture("growth-clients", "Acquires of all clients together", atOnce, rate, rates),
  ];
}

function launch({ rows }) {
  const series = linesBy(rows, "contender", "servers", "seconds");
  const [servers, time] = [linear("servers"), linear("seconds")];
  return [picture("launch-servers", "Servers launched, until all of them serve", servers, time, series)];
}

function endure({ rows }) {
  const leases = linear("leases since the start");
  const memory = [line("RSS", rows, "leases", "memory")];
  const times = ["p50", "p99"].map((key) => line(key, rows, "leases", key));
  const microseconds = logarithmic("microseconds");
  return [
    picture("endure-memory", "Resident memory of a broker over many leases", leases, linear("MiB"), memory),
    picture("endure-times", "An acquire and a release, over many leases", leases, microseconds, times),
  ];
}

export const pictures = { endure, growth, launch, root, scale, shift };
