/** Whether a host can have a berth. Every reason against it is given, not only the first. */
import type { ImageFetch } from "../model/image-fetch.ts";
import { freePorts } from "../model/ports.ts";
import { type ImageLack, imageOn, imageText, type Offers } from "./images.ts";
import { type HostView, memoryLeft, type Need } from "./need.ts";

/** Why a host cannot have a berth. */
export type Misfit =
  | { readonly kind: "has-berth" }
  | { readonly kind: "cordoned" }
  | { readonly kind: "label"; readonly label: string; readonly wanted: string; readonly has: string | undefined }
  | { readonly kind: "taint"; readonly taint: string }
  | { readonly kind: "memory"; readonly wanted: number; readonly left: number }
  /** `by` is a berth. Undefined: a program of the host. */
  | { readonly kind: "port-taken"; readonly port: number; readonly by: string | undefined }
  | { readonly kind: "pool-empty"; readonly wanted: number; readonly left: number }
  /** The image is not there, and cannot be fetched. */
  | { readonly kind: "image"; readonly image: string; readonly lack: ImageLack };

export type Fit =
  | {
      readonly fits: true;
      readonly ports: Readonly<Record<string, number>>;
      /** Images that it gets from other hosts first. */
      readonly fetches: readonly ImageFetch[];
    }
  | { readonly fits: false; readonly misfits: readonly [Misfit, ...Misfit[]] };

/** Whether the host fits, and the ports it would give. `offers`: of the hosts that may have images. */
export function fit(need: Need, view: HostView, offers: Offers): Fit {
  const { host, bookings } = view;
  const misfits: Misfit[] = [];
  if (Object.hasOwn(bookings.berths, need.berth)) misfits.push({ kind: "has-berth" });
  if (view.cordoned) misfits.push({ kind: "cordoned" });
  for (const [label, wanted] of sorted(need.labels)) {
    const has = Object.hasOwn(host.labels, label) ? host.labels[label] : undefined;
    if (has !== wanted) misfits.push({ kind: "label", label, wanted, has });
  }
  for (const taint of [...new Set(host.taints)].sort()) {
    if (!need.tolerates.includes(taint)) misfits.push({ kind: "taint", taint });
  }
  const left = memoryLeft(view);
  if (need.memory > left) misfits.push({ kind: "memory", wanted: need.memory, left });
  const fetches: ImageFetch[] = [];
  for (const image of need.images) {
    const state = imageOn(image, view, offers);
    if (state.is === "lacking") misfits.push({ kind: "image", image: imageText(image), lack: state.lack });
    if (state.is === "fetched") fetches.push(state.fetch);
  }
  const taken = takenPorts(view);
  for (const port of need.fixed) {
    if (taken.has(port)) misfits.push({ kind: "port-taken", port, by: taken.get(port) });
  }
  const free = freePorts(host.pools, new Set([...taken.keys(), ...need.fixed]), need.drawn.length);
  if (free.length < need.drawn.length) {
    misfits.push({ kind: "pool-empty", wanted: need.drawn.length, left: free.length });
  }
  const [first, ...others] = misfits;
  if (first !== undefined) return { fits: false, misfits: [first, ...others] };
  const sockets = [...need.drawn].sort();
  return { fits: true, ports: Object.fromEntries(free.map((port, at) => [sockets[at] ?? "", port])), fetches };
}

/** By port: the berth that has it, or undefined for another program of the host. */
function takenPorts({ host, bookings }: HostView): Map<number, string | undefined> {
  const taken = new Map<number, string | undefined>(host.busy.map((port) => [port, undefined]));
  for (const [berth, { ports }] of sorted(bookings.berths)) for (const port of ports) taken.set(port, berth);
  return taken;
}

/** Entries by their names, so that the order of writing does not matter. */
function sorted<T>(record: Readonly<Record<string, T>>): [string, T][] {
  return Object.entries(record).sort(([one], [other]) => (one < other ? -1 : 1));
}
