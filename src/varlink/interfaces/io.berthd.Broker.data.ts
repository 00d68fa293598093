/** The types of io.berthd.Broker, as part of its text: what berths, leases and descriptors are in calls and replies. */
export const brokerData: string = `# One thing that a berth holds and hands over.
type Descriptor (
  # Its name in the berth: that of the socket's section in the configuration, or the one given to
  # Stash. A socket with several addresses is several descriptors of one name, in the order of its
  # addresses.
  name: string,
  # A listening stream or seqpacket socket, a bound datagram socket, the root directory, or what a
  # tenant stashed.
  kind: (stream, datagram, seqpacket, root, stash),
  # Where a socket is bound, as the configuration writes it: udp://0.0.0.0:27960, tcp://[::]:27960,
  # unix:///run/arena.sock, or unix://@arena for an abstract one.
  address: ?string,
  # Which of the descriptors of this very message it is, from 0. Absent where none are handed over:
  # in List and Watch.
  index: ?int
)

# A tenant's hold on a berth. It ends with Release, or with the last process of the tenant's server.
type Lease (
  # Random, and no secret: it names the lease, and proves nothing about who names it.
  id: string,
  # Process id of the tenant as the broker sees it, or after its end of its oldest other process.
  pid: int,
  # User id of the tenant, as it was when it connected.
  uid: int,
  # The tenant's systemd unit, where it has one.
  unit: ?string,
  # When it was granted, in microseconds since 1970. Absent where an older broker granted it.
  since: ?int
)

# User and group ids reserved for a berth. An id inside its root plus base is the id on the host.
type Range (
  # The first id on the host.
  base: int,
  # How many there are.
  count: int
)

# How the server of a berth fares that starts on demand.
type Start (
  # waiting: the next packet or connection starts it. queued: something has come, and it is started
  # when fewer others are starting. starting: it has been started, and has not taken the berth yet.
  # running: it has the berth, or another tenant has. failed: it ended at once, or could not be run,
  # and is tried again later.
  state: (waiting, queued, starting, running, failed),
  # Starts in a row that failed. 0 again as soon as one did not.
  failures: int,
  # Why the last of them failed, for people.
  reason: ?string,
  # With which status the server, or berth-launch before it, exited then.
  status: ?int,
  # Which signal ended it, as SIGSEGV.
  signal: ?string,
  # When it is tried again, in microseconds since 1970.
  next: ?int
)

# The root directory that a berth gives its tenants.
type Root (
  # What lies below, from the bottom up, and is never changed: NAME@VERSION, or a path. While the
  # berth is vacant, as the configuration names it.
  images: []string,
  # persistent: what a tenant writes is there for the next one. volatile: it goes with the lease.
  # readonly: nothing can be written.
  state: (persistent, volatile, readonly),
  # How the owners of the images' files became ids of the range. idmap: by the kernel, as they are
  # looked at. metacopy: they were written down, once. none: they have not. Absent while vacant.
  strategy: ?(idmap, metacopy, none),
  # The images that the next tenant gets, where one of them is of another version by now.
  newer: ?[]string
)

# Why a berth cannot be taken, or a configuration not be used: where it was written, what is wrong, what to do.
type Problem (
  file: string,
  line: int,
  message: string,
  remedy: ?string
)

# What a vacant berth waits for. repair: its sockets are set right, for over a second. lock: its last
# tenant, pid, has the kernel hold a socket's lock. guard: no process can set its sockets right.
type Wait (for: (repair, lock, guard), pid: ?int, message: string)

# What woke the server of a berth that starts on demand, the last time.
type Wake (
  # When, in microseconds since 1970.
  at: int,
  cause: (datagram, connection),
  # Name of the socket at which it came.
  socket: ?string
)

# How to ask the server of a berth who plays: for the programs that do. The broker asks no server.
type Query (
  # The protocol, as those programs name it: quake3.
  type: string,
  # Absent: the address of its first socket.
  host: ?string,
  # Absent if no socket of it is open.
  port: ?int
)

# Who plays on a berth, as its server says or an observer has reported. It is forgotten when the lease ends, and what an
# observer has reported also a minute after the last report.
type Players (
  # How many play, and how many can.
  count: int,
  max: ?int,
  # What the server calls itself, and its map.
  name: ?string,
  map: ?string,
  # When it was reported, in microseconds since 1970.
  at: int
)

# The SDK that the server of a berth calls, at ports of loopback. A program beside the broker serves it, and speaks for
# the server by Speak.
type Sdk (
  protocol: (agones),
  # Ports of gRPC and of REST.
  grpc: int,
  http: int,
  # User id of the server on the host. Absent: that of the lease.
  uid: ?int,
  # The berth's watchdog: within how many microseconds its server has to say again that it is healthy. Absent: it need
  # not.
  watchdog: ?int
)

# The server of a berth is to end: once nobody plays any more, and at the latest at the deadline.
type Draining (
  # When it was asked for, in microseconds since 1970.
  began: int,
  # When the server is stopped at the latest, in microseconds since 1970. Absent: only when nobody plays any more.
  deadline: ?int,
  # With server.drain = "queue": new joins wait for the next server, or go on as 'note' says. With "refuse": also, they
  # are turned away. Absent: they go on.
  joins: ?(queue, refuse, serve),
  # Which joins go on although they should wait, or wait although they should be turned away, and why, for people.
  note: ?string
)

# One server's place on this host.
type Berth (
  # NAME, or TEMPLATE@INSTANCE.
  name: string,
  # vacant: nobody has it. occupied: one tenant has it. handover: a newcomer has taken it over but
  # has not called Ready, and both have it.
  state: (vacant, occupied, handover),
  # What it holds.
  descriptors: []Descriptor,
  # Its ids, where it has some reserved.
  range: ?Range,
  # Its root, where it has one.
  root: ?Root,
  # The tenant's lease; during a handover, that of the tenant to be replaced. Absent when vacant.
  lease: ?Lease,
  # Whether that tenant has called Ready. Absent when vacant.
  ready: ?bool,
  # What the tenant's server says of itself, for people (sd_notify(3), STATUS=).
  status: ?string,
  # True if the configuration has changed since the tenant took the berth: it may hold other sockets
  # than the next one will. Taking the berth again gives it the new ones, and ends this.
  outdated: ?bool,
  # With outdated: the addresses that the tenant still has of an older configuration, and the berth
  # has no longer.
  older: ?[]string,
  # Where its server starts on demand.
  start: ?Start,
  # How many descriptors the service manager keeps for it, so that they outlive the broker: each of
  # its own, two each for a root, a lease, and a server whose binds are answered.
  kept: ?int,
  # Why nobody can take it, where something is wrong. A busy port or missing address is tried again.
  problems: ?[]Problem,
  # Why nobody gets it yet although it is vacant.
  wait: ?Wait,
  # When it got into its state, in microseconds since 1970; at the earliest, when this broker began. Occupied: when its
  # lease was granted. Otherwise it changes also with how its start fares.
  since: ?int,
  # How often it was given out again, since this broker knows it: its server was started again. Absent: never.
  restarts: ?int,
  # What woke its server last.
  wake: ?Wake,
  # How to ask its server who plays, where the configuration says it.
  query: ?Query,
  # Who plays, if the server says it or an observer has reported it.
  players: ?Players,
  # With a tenant: its server is to end. Watchers hear by 'changed' that a drain begins, changes or is cancelled.
  drain: ?Draining,
  # Which SDK its server calls, where the configuration says it.
  sdk: ?Sdk
)`;
