/** The plots of each benchmark, by its name: growth over berths, files, descriptors and clients. Pure: a result in, plots out. */

/** One line for each value of `key` in the rows, of the rows' values `x` and `y`. */
function linesBy(rows, key, x, y) {
  const names = [...new Set(rows.map((row) => row[key]))];
  return names.map((name) => ({
    name,
    points: rows.filter((row) => row[key] === name && row[y] !== undefined).map((row) => [row[x], row[y]]),
  }));
}

const only = (series, ...names) => series.filter(({ name }) => names.includes(name));

function scale({ rows }) {
  const berths = { label: "berths" };
  const different = rows.filter(({ way }) => way === "different ports");
  const line = (name, key) => ({ name, points: different.map((row) => [row.berths, row[key]]) });
  const start = linesBy(rows, "way", "berths", "start").map(({ name, points }) => ({ name: `start, ${name}`, points }));
  return [
    {
      file: "scale-start",
      title: "Start of a broker, and a check of its configuration",
      x: berths,
      y: { label: "milliseconds" },
      series: [...start, line("berth check", "check")],
    },
    {
      file: "scale-reload",
      title: "A reload after one berth has changed",
      x: berths,
      y: { label: "milliseconds" },
      series: [line("reload", "reload"), line("longest call of another client", "stall")],
    },
    {
      file: "scale-memory",
      title: "Resident memory of a broker",
      x: berths,
      y: { label: "MiB" },
      series: [line("ready", "memory"), line("after the reloads", "after")],
    },
  ];
}

function root({ rows }) {
  const series = linesBy(
    rows.map((row) => ({ ...row, ms: row.p50 / 1000 })),
    "way",
    "files",
    "ms",
  );
  const shown = ["idmap", "idmap, built when asked", "metacopy", "metacopy, first lease", "cp -a"];
  return [
    {
      file: "root-files",
      title: "A lease with a root, by the size of its image",
      x: { label: "files in the image", log: true },
      y: { label: "milliseconds", log: true },
      series: only(series, ...shown),
    },
  ];
}

function shift({ rows }) {
  return [
    {
      file: "shift-files",
      title: "Shifting the owners of a tree",
      x: { label: "files in the tree" },
      y: { label: "seconds" },
      series: linesBy(rows, "way", "files", "time"),
    },
  ];
}

function growth({ descriptors, clients }) {
  return [
    {
      file: "growth-descriptors",
      title: "An acquire, by the number of descriptors",
      x: { label: "descriptors" },
      y: { label: "microseconds (p50)" },
      series: linesBy(descriptors, "contender", "descriptors", "p50"),
    },
    {
      file: "growth-clients",
      title: "Acquires of all clients together",
      x: { label: "clients at once" },
      y: { label: "calls per second" },
      series: linesBy(clients, "contender", "clients", "rate"),
    },
  ];
}

function launch({ rows }) {
  return [
    {
      file: "launch-servers",
      title: "Servers launched, until all of them serve",
      x: { label: "servers" },
      y: { label: "seconds" },
      series: linesBy(rows, "contender", "servers", "seconds"),
    },
  ];
}

function endure({ rows }) {
  const line = (name, key) => ({ name, points: rows.map((row) => [row.leases, row[key]]) });
  const leases = { label: "leases since the start" };
  return [
    {
      file: "endure-memory",
      title: "Resident memory of a broker over many leases",
      x: leases,
      y: { label: "MiB" },
      series: [line("RSS", "memory")],
    },
    {
      file: "endure-times",
      title: "An acquire and a release, over many leases",
      x: leases,
      y: { label: "microseconds", log: true },
      series: [line("p50", "p50"), line("p99", "p99")],
    },
  ];
}

export const pictures = { endure, growth, launch, root, scale, shift };
