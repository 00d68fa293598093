/** What happens to a fleet in a round. Each fault resolves with how to undo it. */

export const faults = {
  async "the leader of etcd is killed"({ members }) {
    const leader = await leaderOf(members);
    await leader.service.kill();
    return () => leader.start();
  },

  async "the network is cut, the leader and two hosts on the smaller side"({ members, hosts, random }) {
    return cut([(await leaderOf(members)).node, ...pick(hosts, 2, random).map(({ node }) => node)]);
  },

  async "the network is cut, two hosts and a follower on the smaller side"({ members, hosts, random }) {
    const leader = await leaderOf(members);
    const [follower] = pick(
      members.filter((one) => one !== leader),
      1,
      random,
    );
    return cut([follower.node, ...pick(hosts, 2, random).map(({ node }) => node)]);
  },

  async "a host hears etcd and is not heard"({ members, hosts, random }) {
    const [{ node }] = pick(hosts, 1, random);
    const nodes = members.map((member) => member.node);
    node.mute(nodes);
    return () => node.unmute(nodes);
  },

  async "the disk of a member is full"({ members, client, stopped }) {
    const member = members.at(-1);
    member.fillDisk();
    const value = "x".repeat(2 ** 20);
    for (let number = 0; number < 40 && member.service.runs && !stopped(); number++) {
      // Unreachable while another member becomes the leader.
      await client.commit([], [{ put: `/ballast/${number}`, value }]).catch(() => undefined);
    }
    return async () => {
      member.emptyDisk();
      await member.service.kill();
      await member.start();
    };
  },

  async "a host is killed"({ hosts, random, record }) {
    const [host] = pick(hosts, 1, random);
    await host.kill();
    record({ kind: "killed", host: host.name, ms: Date.now() });
    return () => host.start();
  },

  async "a host is paused"({ hosts, random }) {
    const [host] = pick(hosts, 1, random);
    await host.freeze();
    return () => host.thaw();
  },

  async "an agent is killed"({ hosts, random }) {
    const [host] = pick(hosts, 1, random);
    await host.agent.kill();
    return () => host.startAgent();
  },
};

function cut(nodes) {
  for (const node of nodes) node.moveTo(1);
  return () => {
    for (const node of nodes) node.moveTo(0);
  };
}

async function leaderOf(members) {
  for (let tries = 0; tries < 600; tries++) {
    for (const member of members) if (await member.leads()) return member;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error("etcd has no leader");
}

export function pick(all, count, random) {
  const left = [...all];
  return Array.from({ length: count }, () => left.splice(Math.floor(random() * left.length), 1)[0]);
}

/** Numbers from 0 to 1, the same ones for a seed: mulberry32. */
export function randomOf(seed) {
  let state = seed * 7919;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
