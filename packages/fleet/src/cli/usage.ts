/** What `berth-fleet --help` and the help of its commands print. */

export const usage: string = `Usage: berth-fleet COMMAND [OPTION]...

Berths on many hosts, with etcd as the one place to ask.

  agent          serve on this host what the fleet places here
  apply FILE...  store sets of berths, and place what is missing
  place SET...   place the berths of a set that are missing
  allocate SET   get a berth of a set for oneself, as a match has its server
  release BERTH...
                 give an allocated berth back before its server ends
  serve          allocate by HTTP, as Agones does
  move BERTH     move a berth to another host
  drain HOST     close a host to new berths, and move its berths away
  cordon HOST... close hosts to new berths
  uncordon HOST...
                 open hosts again
  ls             list hosts, berths or sets
  watch          print what changes, as it changes
  events         print what happened
  explain BERTH  say why a berth is where it is, and why on no other host
  rm SET...      remove sets with all their berths
  replace        place the berths of lost hosts elsewhere, where agents have no right to
  roles HOST...  print the commands that give hosts their rights in etcd

Each command has --help. --etcd, --prefix, --ca, --cert, --key and --json may also come before the command.

  --version      print the version

Exit codes: 0 done, 1 refused: a berth has no host, none is ready, one could not move; 100 wrong usage; 111 etcd
does not answer or a file cannot be read.
`;

const common = `
  --etcd URL     a member of etcd, as https://192.0.2.1:2379; may be given several times
                 (default: $BERTH_FLEET_ETCD, with commas between)
  --prefix /NAME/
                 where the fleet is in etcd (default: /berthd/)
  --ca FILE      who signs the certificates of etcd's members (PEM)
  --cert FILE    our certificate for etcd; needs --key
  --key FILE     its private key
  --json         print JSON
  --help         print this
`;

export const agentUsage: string = `Usage: berth-fleet agent --folder DIR [OPTION]...

Serves on this host the berths that the fleet places here. Run it as the broker's user, next to berthd, and start berthd
with --config DIR as well. Ends with SIGTERM; servers go on then.

  --folder DIR   the folder of the berth files that it writes
  --socket PATH  the broker's socket (default: $BERTHD_SOCKET, else the usual places)
  --config DIR   another folder that the broker reads; may be given several times (default: /usr/lib/berthd and
                 /etc/berthd; for a user other than root ~/.config/berthd). A berth that has a file or drop-ins there
                 is never the fleet's
  --name NAME    the host's name in the fleet (default: the hostname, up to the first dot)
  --address ADDRESS
                 what players connect to; may be given several times
  --ports FIRST-LAST
                 ports for berths that leave the choice to the fleet; may be given several times
  --memory SIZE  what all berths of the fleet may have together, as 8G (default: the host's)
  --label NAME=VALUE
                 a label of the host; may be given several times
  --taint NAME   keeps away berths that do not tolerate it; may be given several times
  --ttl SECONDS  the host is gone when it is silent for so long (default: 10)
  --margin SECONDS
                 berths of another host that is gone are placed elsewhere after so long (default: 5)
  --allow-user USER
                 a user whom berths of the fleet may run as, by name or id; may be given several times (default: none;
                 only "range", the ids of a berth's own)
  --allow-command PATH
                 a program or a folder of programs that berths of the fleet may run; may be given several times
                 (default: every program)
  --allow-key SECTION.KEY
                 a key of berth files that could give a server the rights of root, such as server.capabilities or
                 root.binds; may be given several times
  --allow-socket DIR
                 a folder below which berths of the fleet may have UNIX sockets; may be given several times (default:
                 none, only abstract names)
  --allow-port N[-M]
                 ports below 1024 that berths of the fleet may have, beside those of --ports; may be given several times
  --state-socket PATH
                 the UNIX socket of the program that reads and replaces the files of berths, and makes images. With
                 --store and --store-listen: berths take their files along when they move to this host or from it, and
                 this host gets images from others and sends its own
  --store DIR    a folder of the agent, for archives in chunks
  --store-size SIZE
                 how much all archives in it may take (default: 16G)
  --store-listen ADDRESS:PORT
                 where the other agents fetch chunks, with certificates that --ca has signed
  --insecure     allow --etcd http://…: any program that listens there, or between here and there, can run commands
                 as root on this host. Only for a test in a network namespace of its own
${common.slice(1)}`;

export const applyUsage: string = `Usage: berth-fleet apply FILE... [OPTION]...

Stores the sets of berths in these files, and places the berths that are missing. Berths above
a set's count are removed. Berths that are placed keep their berth file. Exit status 1: a berth has no host.
${common}`;

export const placeUsage: string = `Usage: berth-fleet place SET... [OPTION]...

Places the berths of a set that are missing, and says why each goes to its host and to no other.
Exit status 1: a berth has no host.
${common}`;

export const allocateUsage: string = `Usage: berth-fleet allocate SET [OPTION]...

Prints a berth of the set whose server runs and which nobody else has, with its ports. No other allocate gets it until
its server ends, or until berth-fleet release. Exit status 1: none is ready.

With --players others may get the same berth, while it has free places. The places are kept for a minute, until the
players are there. Its server must report how many can play.

  --label NAME=VALUE
                 a label that its host must have; may be given several times
  --players N    a berth with so many free places
${common.slice(1)}`;

export const releaseUsage: string = `Usage: berth-fleet release BERTH... [OPTION]...

Gives allocated berths back before their servers end.
${common}`;

export const serveUsage: string = `Usage: berth-fleet serve [OPTION]...

Allocates by HTTP, with the requests of Agones: GameServerAllocation, and those of its allocator service. A program
that can connect can allocate, and can do nothing else. Ends with SIGTERM.

  --listen ADDRESS:PORT|PATH
                 where, or the path of a UNIX socket (default: 127.0.0.1:9116)
  --token-file FILE
                 what callers must show as Authorization: Bearer; needed for an address that is not of loopback
${common.slice(1)}`;

const moving = `
  --deadline TIME
                 when a server is stopped at the latest, as 90s or 2h; 0: at once (default: 30min)
  --when-empty   without a deadline: only once nobody plays
  --without-files
                 the berth's files stay where they are, and it begins without them`;

export const moveUsage: string = `Usage: berth-fleet move BERTH [--to HOST] [OPTION]...

Has the berth's server end once nobody plays, and starts it on another host. If it does not start there, it starts again
where it was. So it does if you end this command before the berth has moved. Addresses and ports change: players connect
anew. Its files go along, if the agents of both hosts have --state-socket. Exit status 1: it was not moved.

  --to HOST      where to (default: the best other host)${moving}
${common.slice(1)}`;

export const drainUsage: string = `Usage: berth-fleet drain HOST [OPTION]...

Closes a host to new berths, and moves those that are there to other hosts, as berth-fleet move does. Exit status 1:
a berth stays. The host stays closed until berth-fleet uncordon, also if you end this command.

  --stop         berths that no other host can have are stopped until berth-fleet uncordon
  --cancel       as berth-fleet uncordon${moving}
${common.slice(1)}`;

export const cordonUsage: string = `Usage: berth-fleet cordon HOST... [OPTION]...

Closes hosts to new berths. Those that are there stay.
${common}`;

export const uncordonUsage: string = `Usage: berth-fleet uncordon HOST... [OPTION]...

Opens hosts to new berths again, and starts what berth-fleet drain --stop has stopped.
${common}`;

export const rmUsage: string = `Usage: berth-fleet rm SET... [OPTION]...

Removes sets with all their berths: their hosts stop the servers.
${common}`;

export const watchUsage: string = `Usage: berth-fleet watch [NAME]... [OPTION]...

Prints what is there, then a line for each berth and host that changes, until Ctrl-C. NAME is a berth, a set or a host:
only these. With --json each line has the whole row.
${common}`;

export const eventsUsage: string = `Usage: berth-fleet events [OPTION]...

Prints what happened to the fleet, the oldest first, a line each: placed refused removed moved returned replaced
allocated released joined silent closed opened. etcd keeps about the last 1,000.

  --berth BERTH  only of this berth
  --host HOST    only of this host
  --follow       go on with what happens, until Ctrl-C
${common.slice(1)}`;

export const explainUsage: string = `Usage: berth-fleet explain BERTH [OPTION]...

Says where a berth is, which host is the best for it now, why not each other one, and what happened to it. The berth
need not be placed.
${common}`;

export const lsUsage: string = `Usage: berth-fleet ls [hosts|berths|sets] [OPTION]...

Lists the hosts, the berths (by default) or the sets of the fleet.
${common}`;

export const replaceUsage: string = `Usage: berth-fleet replace [OPTION]...

Places the berths of lost hosts elsewhere, those whose set says on-lost = "replace", until SIGTERM. Agents do it, too,
unless each has rights in etcd for its own host only: then run this with an operator's certificate. It may run several
times.

  --margin SECONDS
                 a host is lost so long after its lease has ended (default: 5)
${common.slice(1)}`;

export const rolesUsage: string = `Usage: berth-fleet roles HOST... [OPTION]...

Prints the etcdctl commands that give each host a role and a user of etcd: it reads what is placed on it, and writes its
own record and reports. The user is the host's name; the CN of its certificate has to be the same. Changes nothing.
${common}`;
