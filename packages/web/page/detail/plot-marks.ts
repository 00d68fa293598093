/**
 * Marks on a plot: when no server ran, when it crashed, when packets were lost. And the page's colours for a canvas.
 */
import type uPlot from "uplot";
import type { Span, Time } from "../../src/api/shapes.ts";

/** In pixels of the page. */
const CRASH_HEIGHT = 10;
const CRASH_WIDTH = 1.5;
const LOST_HEIGHT = 2;

export function drawIdle(plot: uPlot, spans: readonly Span[], colour: string): void {
  const { top, height } = plot.bbox;
  for (const { from, to } of spans) fill(plot, xOf(plot, from), xOf(plot, to), top, height, colour);
}

export function drawCrashes(plot: uPlot, times: readonly Time[], colour: string): void {
  const ratio = devicePixelRatio;
  const { top, height } = plot.bbox;
  const tall = CRASH_HEIGHT * ratio;
  for (const time of times) {
    const x = xOf(plot, time);
    fill(plot, x, x + CRASH_WIDTH * ratio, top + height - tall, tall, colour);
  }
}

export function drawLost(plot: uPlot, spans: readonly Span[], colour: string): void {
  const tall = LOST_HEIGHT * devicePixelRatio;
  const { top, height } = plot.bbox;
  for (const { from, to } of spans) fill(plot, xOf(plot, from), xOf(plot, to), top + height - tall, tall, colour);
}

/** A colour of tokens.css as a canvas takes it: light-dark() is resolved where `box` is. */
export function colourOf(box: HTMLElement, token: string, alpha: number = 1): string {
  const probe = document.createElement("i");
  probe.style.color = `var(--${token})`;
  box.append(probe);
  const colour = getComputedStyle(probe).color;
  probe.remove();
  return alpha === 1 ? colour : colour.replace(/^rgb\((.*)\)$/, `rgba($1, ${alpha})`);
}

/** In the canvas, within the plot. */
function xOf(plot: uPlot, time: Time): number {
  const { left, width } = plot.bbox;
  return Math.max(left, Math.min(left + width, plot.valToPos(time, "x", true)));
}

function fill(plot: uPlot, from: number, to: number, top: number, height: number, colour: string): void {
  if (to <= from) return;
  // uPlot remembers the colour that it set last, and does not set it again.
  plot.ctx.save();
  plot.ctx.fillStyle = colour;
  plot.ctx.fillRect(from, top, to - from, height);
  plot.ctx.restore();
}
