// The kept steps on the curve they were taken from; choosing one changes the comparison and the download.
import { html, useEffect, useRef } from "../../lib/html.js";
import { labelOf, labelsAt, Shot } from "./samples.js";
import { RESULT as W } from "../../words/result.js";

const WIDE = 1000;
const HIGH = 130;
const CURVE = 70; // of the height is the curve's, the rest leads to the pictures

/** Mistakes on the user's files, [[x, y], ...] between 0 and 1; nothing where they were measured fewer than twice. */
function curveOf(metrics, last) {
  const rows = metrics.filter((row) => row.stage === "train" && typeof row.reference_loss === "number" && row.step <= last);
  if (rows.length < 2) return [];
  const losses = rows.map((row) => row.reference_loss);
  const [low, high] = [Math.min(...losses), Math.max(...losses)];
  const points = rows.map((row) => [row.step / last, 1 - (row.reference_loss - low) / (high - low || 1)]);
  return [...points, [1, points.at(-1)[1]]]; // the last step was kept after the last measurement
}

function heightAt(curve, x) {
  const next = curve.findIndex(([at]) => at >= x);
  if (next <= 0) return curve.at(next)[1];
  const [[x0, y0], [x1, y1]] = [curve[next - 1], curve[next]];
  return y0 + ((y1 - y0) * (x - x0)) / (x1 - x0 || 1);
}

function Curve({ metrics, steps, chosen }) {
  const last = steps.at(-1) || 1;
  const curve = curveOf(metrics, last);
  if (!curve.length) return null;
  const column = (index) => ((index + 0.5) / steps.length) * WIDE;
  const [inset, span] = [column(0), WIDE - 2 * column(0)];
  const place = ([x, y]) => [inset + x * span, 10 + y * (CURVE - 20)];
  const path = curve.map((point, index) => `${index ? "L" : "M"}${place(point).map((value) => value.toFixed(1)).join(" ")}`).join("");
  const points = steps.map((step) => place([step / last, heightAt(curve, step / last)]));
  const lead = ([x, y], index) => `M${x.toFixed(1)} ${y.toFixed(1)}C${x.toFixed(1)} ${CURVE + 25} ${column(index).toFixed(1)} ${CURVE + 15} ${column(index).toFixed(1)} ${HIGH}`;
  return html`<svg class="flight-curve" viewBox=${`0 0 ${WIDE} ${HIGH}`} preserveAspectRatio="none" role="img" aria-label=${W.stepsCurve}>
    ${points.map((point, index) => html`<path key=${index} class=${steps[index] === chosen ? "lead chosen" : "lead"} d=${lead(point, index)} />`)}<path class="curve" d=${path} />
    ${points.map(([x, y], index) => html`<path key=${index} class=${steps[index] === chosen ? "stop chosen" : "stop"} d=${`M${x} ${y}h0`} />`)}</svg>`;
}

export function Flight({ row, steps, samples, metrics, chosen, choose }) {
  const texts = [...row.cells.values()].some((sample) => typeof sample.text === "string");
  const move = (event) => {
    const by = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 }[event.key];
    if (!by) return;
    event.preventDefault();
    const next = steps[Math.min(steps.length - 1, Math.max(0, steps.indexOf(chosen) + by))];
    choose(next);
    event.currentTarget.querySelector(`[data-step="${next}"]`).focus();
  };
  const scroller = useRef(null);
  useEffect(() => {
    const button = scroller.current.querySelector(".kept .chosen");
    if (button) scroller.current.scrollLeft = button.offsetLeft - scroller.current.clientWidth / 2 + button.offsetWidth / 2;
  }, []);
  return html`<div class=${texts ? "flight texts" : "flight"}><div class="scroll" ref=${scroller}><div class="track" style=${{ "--steps": steps.length }}>
    <${Curve} metrics=${metrics} steps=${steps} chosen=${chosen} />
    <div class="kept" role="radiogroup" aria-label=${W.steps} onKeyDown=${move}>${steps.map((step) => html`<button key=${step} type="button" role="radio" data-step=${step} aria-checked=${step === chosen} tabindex=${step === chosen ? 0 : -1} class=${step === chosen ? "chosen" : ""} onClick=${() => choose(step)}>
      <${Shot} sample=${row.cells.get(step)} size=${80} alt="" /><b class="num">${step === 0 ? W.before : step}</b><small>${step === 0 ? "" : labelOf(labelsAt(samples, step))}</small></button>`)}</div></div></div></div>`;
}
