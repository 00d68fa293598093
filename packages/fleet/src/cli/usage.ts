/** What `berth-fleet --help` and the help of its commands print. */

export const usage: string = `Usage: berth-fleet COMMAND [OPTION]...

Berths on many hosts, with etcd as the one place to ask.

  agent          serve on this host what the fleet places here
  apply FILE...  store sets of berths, and place what is missing
  place SET...   place the berths of a set that are missing
  allocate SET   get a berth of a set for oneself, as a match has its server
  release BERTH...
                 give an allocated berth back before its server ends
  ls             list hosts, berths or sets
  rm SET...      remove sets with all their berths

Each command has --help.
Exit codes: 0 done, 1 a berth has no host or none is ready, 100 wrong usage, 111 etcd does not answer or a file cannot
be read.
`;

const common = `
  --etcd URL     a member of etcd, as http://127.0.0.1:2379; may be given several times
                 (default: $BERTH_FLEET_ETCD, with commas between, else http://127.0.0.1:2379)
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

  --label NAME=VALUE
                 a label that its host must have; may be given several times
${common.slice(1)}`;

export const releaseUsage: string = `Usage: berth-fleet release BERTH... [OPTION]...

Gives allocated berths back before their servers end.
${common}`;

export const rmUsage: string = `Usage: berth-fleet rm SET... [OPTION]...

Removes sets with all their berths: their hosts stop the servers.
${common}`;

export const lsUsage: string = `Usage: berth-fleet ls [hosts|berths|sets] [OPTION]...

Lists the hosts, the berths (by default) or the sets of the fleet.
${common}`;
