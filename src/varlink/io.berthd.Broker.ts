/** The text of io.berthd.Broker: what GetInterfaceDescription serves, and what calls and replies are held against. */
export const brokerInterface: string = `# The berthd broker: it holds the sockets of servers, and hands them over as file descriptors.
#
# Descriptors travel beside a message (SCM_RIGHTS). Who the caller is, the broker learns from the
# kernel when the connection is made. What policy refuses is org.varlink.service.PermissionDenied,
# and a berth that the caller may not take gets the same answer as one that does not exist. In every
# error here, 'message' is a sentence for people: programs go by the error's name and its other
# fields.
interface io.berthd.Broker

# One thing that a berth holds and hands over.
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
  unit: ?string
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
  strategy: ?(idmap, metacopy, none)
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
  wait: ?Wait
)

# The berths that the caller may take; for root and the broker's own user, all of them.
method List() -> (berths: []Berth)

# The folder of the broker's images, ranges and roots, for programs that work on it. Only root and the
# broker's user may ask.
method GetStateFolder() -> (
  # Its absolute path; absent if the broker has none.
  folder: ?string
)

# Takes a berth: the caller becomes its tenant, and gets its descriptors with the reply. The present
# tenant gets the same lease again, with fresh descriptors. A takeover ends in one of three ways: the
# newcomer calls Ready, and the old lease ends; or the old tenant goes first, and the newcomer has the
# berth alone; or the newcomer goes first, and the old lease stays as it was.
method Acquire(
  # Name of the berth.
  berth: string,
  # Whether to take over from another tenant. no (as when absent): an occupied berth is refused with
  # BerthOccupied. try: take over if there is a tenant, else take the vacant berth. must: only take
  # over, BerthVacant if there is no tenant.
  replace: ?(no, try, must)
) -> (
  # Id of the lease.
  lease: string,
  # What was handed over.
  descriptors: []Descriptor,
  # The berth's ids, where it has some reserved.
  range: ?Range
)

# Ends the caller's lease. The broker keeps the berth's descriptors open for the next tenant.
method Release(
  # Id of the lease.
  lease: string
) -> ()

# Leaves one descriptor in the berth for the next tenant. Exactly one must come with the call. A
# kind that cannot be kept is refused with UnsuitableDescriptor, one too many with LimitReached.
method Stash(
  # Id of the lease.
  lease: string,
  # What to call it.
  name: string
) -> ()

# Says that the tenant's server is serving. This is what completes a takeover. READY=1 says the same
# (sd_notify(3)) to a server that berth-launch has started outside of systemd.
method Ready(
  # Id of the lease.
  lease: string
) -> ()

# As Acquire, for berth-launch: everything to be done before the server is executed comes as a plan.
# The plan is the first descriptor of the reply, a sealed memfd; the berth's descriptors follow it.
method Launch(
  # Name of the berth.
  berth: string,
  # Program and arguments. Absent: the berth's own server.command.
  command: ?[]string,
  # Variables for the server's environment.
  environment: ?[string]string,
  # As for Acquire.
  replace: ?(no, try, must)
) -> (
  # Id of the lease.
  lease: string,
  # Which of the descriptors of this message is the plan: 0.
  plan: int,
  # The berth's ids, where its root has some.
  range: ?Range
)

# Has each bind(2) of the tenant and its children answered with the berth's own sockets. Exactly one
# descriptor must come with the call, once for a lease: where seccomp reports them (seccomp_unotify(2)).
method Intercept(
  # Id of the lease.
  lease: string
) -> ()

# Reads the configuration again, all or nothing. Only for root and the broker's own user. The answer
# has the number of berths, and the problems that were there before and still are.
method Reload() -> (berths: int, problems: []Problem)

# What happens to the berths that the caller may take. At first one reply with the event 'present'
# for each of them, then one for everything that happens, until the caller closes the connection.
# [Requires 'more' flag]
method Watch() -> (
  # present: it was there when the watch began. added, changed, removed: so says the configuration.
  # acquired: it has a tenant. ready: the tenant called Ready. handover: a newcomer took it over.
  # released: a lease ended. repaired: a tenant had left a socket in a state unfit for the next, and
  # the broker has put it right. starting: something came for the server, and the broker starts it.
  # failed: such a start came to nothing. stopping: there was no traffic, and the broker stops the
  # server; or the server says that it stops. status: it says something else of itself.
  event: (
    present, added, changed, removed, acquired, ready, handover, released, repaired, starting,
    failed, stopping, status
  ),
  # The berth as it is after the event; after 'removed', as it was before.
  berth: Berth
)

# There is no such berth. Only root and the broker's own user are told; others get PermissionDenied.
error NoSuchBerth (
  # The name that was asked for.
  berth: string,
  # Why, for people.
  message: ?string
)

# The caller has no such lease, or has it no longer.
error NoSuchLease (
  # The id that was given.
  lease: string,
  # Why, for people.
  message: ?string
)

# The berth has another tenant, and the call did not ask to take over from it.
error BerthOccupied (
  # Name of the berth.
  berth: string,
  # Who has it.
  lease: Lease,
  # Why, for people.
  message: ?string
)

# The call asked to take over from a tenant and nothing else, but the berth has none.
error BerthVacant (
  # Name of the berth.
  berth: string,
  # Why, for people.
  message: ?string
)

# The berth's configuration has a mistake, or a socket of it could not be opened.
error BerthHasProblems (
  # Name of the berth.
  berth: string,
  problems: []Problem,
  # The first of them, and what to do, for people.
  message: ?string
)

# The configuration has problems that it did not have before. Nothing has changed.
error ConfigurationInvalid (
  problems: []Problem,
  # All of them, for people.
  message: ?string
)

# The berth has a root, and it could not be made: an image is missing, its ids are not free, what an
# earlier tenant wrote is still in use. No lease was granted.
error RootUnavailable (
  # Name of the berth.
  berth: string,
  # Why, for people, and what to do.
  message: ?string
)

# The caller has reached a limit of the broker's.
error LimitReached (
  # Which one.
  limit: string,
  # Why, for people, and what to do.
  message: ?string
)

# The descriptor that came with the call cannot be kept.
error UnsuitableDescriptor (
  # What it was to be called.
  name: string,
  # Why, for people.
  message: ?string
)
`;
