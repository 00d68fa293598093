/** Games of made-up servers, and how full servers are at which time. */

export interface Game {
  readonly title: string;
  readonly maps: readonly string[];
  readonly slots: number;
  readonly port: number;
  readonly protocol: "udp" | "tcp";
  readonly version: string;
  /** In GiB. */
  readonly memory: number;
}

function game(
  title: string,
  maps: string,
  slots: number,
  port: number,
  protocol: "udp" | "tcp",
  version: string,
  memory: number,
): Game {
  return { title, maps: maps.split(", "), slots, port, protocol, version, memory };
}

const ARENA = game("Quake III Arena", "q3dm17, q3dm6, q3tourney2", 32, 27960, "udp", "2.4.1", 0.28);

export const GAMES: Readonly<Record<string, Game>> = {
  arena: ARENA,
  cs2: game("Counter-Strike 2", "de_dust2, de_inferno, de_nuke", 24, 27015, "udp", "1.40.7", 1.9),
  mc: game("Minecraft", "survival, world, skyblock", 60, 25565, "tcp", "1.21.4", 4.1),
  valheim: game("Valheim", "Midgard, Ashlands", 10, 2456, "udp", "0.220.5", 2.6),
  tf2: game("Team Fortress 2", "cp_dustbowl, pl_upward", 24, 27115, "udp", "9543211", 0.9),
  factorio: game("Factorio", "nauvis, vulcanus", 16, 34197, "udp", "2.0.41", 1.4),
  luanti: game("Luanti", "valleys, carpathian", 30, 30000, "udp", "5.10.0", 0.4),
  ddnet: game("DDNet", "Multeasymap, Kobra 4", 64, 8303, "udp", "18.9", 0.12),
  tanks: game("BZFlag", "hix, pillbox", 40, 5154, "udp", "2.4.26", 0.08),
  ttd: game("OpenTTD", "temperate 1950, arctic 1935", 15, 3979, "tcp", "14.1", 0.2),
};

/** The game of a berth's template. */
export function gameOf(berth: string): Game {
  return GAMES[berth.split("@")[0] ?? ""] ?? ARENA;
}

/** From 0 to 1: nights are empty, evenings full. `shift` in hours. */
export function loadAt(time: number, shift: number): number {
  const date = new Date(time);
  const hour = date.getHours() + date.getMinutes() / 60 - shift;
  const day = Math.max(0, 0.5 - 0.5 * Math.cos(((hour - 5) / 12) * Math.PI)) ** 1.5;
  const evening = 0.5 * Math.exp(-(((hour - 20.5) / 2.4) ** 2));
  return Math.min(1, (day + evening) * (date.getDay() % 6 === 0 ? 1 : 0.76));
}
