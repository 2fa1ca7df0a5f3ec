// One chart: uPlot on a canvas, with its values in words above, and everything in a table for whoever can't see it.
import uPlot from "../../vendor/uplot.js";
import { html, useEffect, useRef, useState } from "../../lib/html.js";
import { figure } from "../../lib/format.js";
import { CURVES as W } from "../../words/working.js";

const AXIS_FONT = "12px Geist, system-ui, sans-serif";

const token = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** Lines of [step, value] as columns over the steps of all. */
function columns(lines) {
  const steps = [...new Set(lines.flatMap((line) => line.points.map(([step]) => step)))].sort((a, b) => a - b);
  const place = new Map(steps.map((step, index) => [step, index]));
  const data = lines.map((line) => {
    const column = new Array(steps.length).fill(undefined); // undefined joins, null would leave a gap
    for (const [step, value] of line.points) column[place.get(step)] = value;
    return column;
  });
  return [steps, ...data];
}

/** Upright lines with a word: where it turns, what was chosen. */
function drawMarks(marks) {
  return (chart) => {
    const { ctx } = chart;
    const ratio = devicePixelRatio;
    const { left, width, top, height } = chart.bbox;
    ctx.save();
    ctx.font = `${12 * ratio}px Geist, system-ui, sans-serif`;
    let row = 0;
    for (const mark of marks.current) {
      const x = chart.valToPos(mark.step, "x", true);
      if (x < left || x > left + width) continue;
      ctx.strokeStyle = ctx.fillStyle = token(mark.color);
      ctx.lineWidth = ratio * (mark.solid ? 2 : 1);
      ctx.setLineDash(mark.solid ? [] : [3 * ratio, 3 * ratio]);
      ctx.beginPath();
      ctx.moveTo(x, top);
      ctx.lineTo(x, top + height);
      ctx.stroke();
      const after = x + ctx.measureText(mark.label).width + 8 * ratio < left + width;
      ctx.textAlign = after ? "left" : "right";
      ctx.fillText(mark.label, x + (after ? 5 : -5) * ratio, top + (12 + 15 * row) * ratio);
      row = (row + 1) % 3;
    }
    ctx.restore();
  };
}

/** Of the lines of a logarithmic axis those at powers of ten. */
const powers = (_, splits) => splits.map((split) => (Math.abs(Math.log10(split) - Math.round(Math.log10(split))) < 1e-6 ? split : null));

function optionsOf({ width, height, lines, log, sync, upto, marks, shown }) {
  const axis = { stroke: token("--ink-3"), font: AXIS_FONT, grid: { stroke: token("--line"), width: 1 }, ticks: { show: false } };
  return {
    width, height,
    cursor: { sync: sync ? { key: sync } : undefined, y: false, points: { size: 6 } },
    legend: { show: false },
    scales: { x: { time: false, range: (_, low, high) => [upto ? 0 : low, Math.max(high, upto || 0, low + 1)] }, y: { distr: log ? 3 : 1 } },
    axes: [{ ...axis, grid: { show: false }, size: 28 }, { ...axis, grid: { ...axis.grid, ...(log && { filter: powers }) }, size: width < 500 ? 52 : 64, values: (_, values) => values.map((value) => (value === null ? "" : figure(value))) }],
    series: [{}, ...lines.map((line) => ({ stroke: token(line.color), width: line.thin ? 1 : 2, dash: line.dash ? [5, 4] : undefined, points: { show: line.points.length === 1 }, spanGaps: true }))],
    hooks: { draw: [drawMarks(marks)], setCursor: [(chart) => shown(chart.cursor.idx ?? null)] },
  };
}

/** Draw `lines` into the element, anew where their number, the width or the colours change. */
function usePlot(box, props, marks, shown) {
  const plot = useRef(null);
  const made = useRef("");
  useEffect(() => {
    const build = () => {
      const width = Math.floor(box.current.clientWidth);
      if (!width) return;
      const shape = `${width} ${props.lines.map((line) => line.name)} ${token("--bg")} ${props.upto || 0} ${props.lines.map((line) => line.points.length === 1)}`;
      const data = columns(props.lines);
      if (plot.current && made.current === shape) return plot.current.setData(data);
      plot.current?.destroy();
      plot.current = new uPlot(optionsOf({ ...props, width, marks, shown }), data, box.current);
      made.current = shape;
    };
    build();
    const size = new ResizeObserver(build);
    size.observe(box.current);
    const dark = matchMedia("(prefers-color-scheme: dark)");
    dark.addEventListener("change", build);
    return () => {
      size.disconnect();
      dark.removeEventListener("change", build);
    };
  }, [props.lines, props.upto, props.marks]);
  useEffect(() => () => plot.current?.destroy(), []);
}

function Legend({ lines, step }) {
  const value = (line) => {
    const known = step === null ? line.points.at(-1) : line.points.findLast(([at]) => at <= step);
    return known ? figure(known[1]) : "";
  };
  const last = Math.max(...lines.map((line) => line.points.at(-1)?.[0] ?? 0));
  return html`<p class="legend num"><span>${W.at(step ?? last)}</span>${lines.map((line) => html`<span key=${line.name}><i class=${line.dash ? "dash" : ""} style=${{ "--of": `var(${line.color})` }}></i>${W.names[line.name]} <b>${value(line)}</b></span>`)}</p>`;
}

/** `lines`: [{name, points: [[step, value]], color, dash?, thin?}]; `marks`: [{step, label, color, solid?}]. */
export function Chart({ title, lead, note, lines, marks = [], height = 190, sync, upto, log }) {
  const box = useRef(null);
  const marked = useRef(marks);
  marked.current = marks;
  const [step, setStep] = useState(null);
  const steps = useRef([]);
  steps.current = columns(lines)[0];
  const drawn = lines.filter((line) => line.points.length);
  usePlot(box, { lines: drawn, marks, height, sync, upto, log }, marked, (index) => setStep(index === null ? null : steps.current[index]));
  const all = steps.current;
  return html`<figure class="chart"><figcaption><h3>${title}</h3><p class="hint">${lead}${note ? ` ${note}` : ""}</p></figcaption>
    <${Legend} lines=${drawn} step=${step} /><div class="plot" style=${{ height: `${height}px` }} ref=${box} role="img" aria-label=${W.summary(title, all.length, all[0], all.at(-1))}></div></figure>`;
}
