/** The text of io.berthd.Broker: what GetInterfaceDescription serves, and what calls and replies are held against. */
import { brokerData } from "./io.berthd.Broker.data.ts";

export const brokerInterface: string = `# The berthd broker: it holds the sockets of servers, and hands them over as file descriptors.
#
# Descriptors travel beside a message (SCM_RIGHTS). Who the caller is, the broker learns from the
# kernel when the connection is made. What policy refuses is org.varlink.service.PermissionDenied,
# and a berth that the caller may not take gets the same answer as one that does not exist. In every
# error here, 'message' is a sentence for people: programs go by the error's name and its other
# fields.
interface io.berthd.Broker

${brokerData}

# The berths that the caller may take or see; for root and the broker's own user, all of them.
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

# Closes a stashed descriptor of the berth, also one that an earlier tenant left. Without one of that name, nothing
# happens.
# FDSTOREREMOVE=1 is the same for a server that berth-launch has started outside of systemd.
method Unstash(
  # Id of the lease.
  lease: string,
  # Its name.
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

# Ends the server of a berth with all its processes, and answers when they have ended. They get the
# berth's stop-signal, and SIGKILL after its stop-timeout; a server that is a unit of systemd is
# stopped by that. The berth stays, with its sockets open. Only for root, the broker's own user, and
# the user who has the lease. A caller that goes away stops nothing: the server ends all the same.
method Stop(
  # Name of the berth.
  berth: string
) -> (
  # Whose lease it was. Absent if nobody had the berth.
  lease: ?Lease,
  # The unit that was stopped.
  unit: ?string,
  # Whether a process was left at the end of stop-timeout, and got SIGKILL.
  killed: bool,
  # Whether the next packet or connection starts the server again.
  again: bool
)

# Has the server of a berth stopped as Stop does, but only once nobody plays any more, or when the time is up. It
# answers at once, and the broker goes on without the caller. For the same callers as Stop. Called again, it changes the
# deadline. The server is told as the berth's configuration says. A berth that nobody has is stopped as by Stop.
method Drain(
  # Name of the berth.
  berth: string,
  # In how many seconds the server is stopped at the latest: 1 to 604800. Absent: only when nobody plays any more.
  within: ?int
) -> (
  # The drain. Absent if nobody had the berth.
  drain: ?Draining,
  # Whose server is to end. Absent if nobody had the berth.
  lease: ?Lease,
  # The unit that was stopped at once, as nobody had the berth.
  unit: ?string
)

# Cancels a drain: the server goes on. For the same callers as Stop.
method CancelDrain(
  # Name of the berth.
  berth: string
) -> (
  # The drain that was cancelled. Absent: the berth was not draining.
  drain: ?Draining
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

# What happens to the berths that List gives the caller. At first one reply with the event 'present'
# for each of them, then one for everything that happens, until the caller closes the connection.
# [Requires 'more' flag]
method Watch() -> (
  # present: it was there when the watch began. added, changed, removed: so says the configuration;
  # changed also when something else of it has changed, such as its drain.
  # acquired: it has a tenant. ready: the tenant called Ready. handover: a newcomer took it over.
  # released: a lease ended. repaired: a tenant had left a socket in a state unfit for the next, and
  # the broker has put it right. starting: something came for the server, and the broker starts it.
  # failed: such a start came to nothing. stopping: there was no traffic or somebody
  # called Stop, and the broker stops the server; or the server says that it stops. status: it says
  # something else of itself. players: other players are known. Both at most once a second.
  event: (
    present, added, changed, removed, acquired, ready, handover, released, repaired, starting,
    failed, stopping, status, players
  ),
  # The berth as it is after the event; after 'removed', as it was before.
  berth: Berth
)

# Reports who plays on a berth. Only for root, the broker's own user and who is an observer of the berth: its
# configuration names them. A report counts for a minute, unless the lease ends. Two reports of a berth within a tenth
# of a second are LimitReached. A berth that has no tenant is BerthVacant.
method Report(
  # Name of the berth.
  berth: string,
  # How many play. Absent: nobody knows any more.
  players: ?int,
  # How many can.
  max: ?int,
  # What the server calls itself, and its map: at most 128 characters, none of them a control character.
  name: ?string,
  map: ?string
) -> ()

# Says for the server of a berth what that could say by sd_notify(3), and asks for its end. For the program that serves
# the server's SDK. Only for root, the broker's own user, and the user in the server.sdk-user of the berth.
method Speak(
  # Name of the berth.
  berth: string,
  # Id of its lease: what a server said is not said of the next one.
  lease: string,
  # It is serving, as Ready says it.
  ready: ?bool,
  # What it says of itself, for people: at most 128 characters, none of them a control character. Empty: nothing.
  status: ?string,
  # How many play, and how many can.
  players: ?int,
  max: ?int,
  # stop: it wants to be stopped, as by Stop. abort: it hangs, and gets SIGABRT, as from its watchdog. The answer does
  # not wait for its end.
  end: ?(stop, abort)
) -> ()

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

# A server lives on although it was to be stopped, or systemd is still stopping its unit.
error StopFailed (
  # Name of the berth.
  berth: string,
  # Who has it.
  lease: ?Lease,
  # Why, for people, and what to do.
  message: ?string
)

# The drain cannot be cancelled any more: the server is being stopped.
error ServerStopping (
  # Name of the berth.
  berth: string,
  # Who has it.
  lease: Lease,
  # Why, for people, and what to do.
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
