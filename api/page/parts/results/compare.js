// Two kept steps against each other: pictures under a divider, answers side by side.
import { html, useState } from "../../lib/html.js";
import { labelOf, labelsAt, usePicture } from "./samples.js";
import { RESULT as W } from "../../words/result.js";
import { SAMPLES } from "../../words/working.js";

const WHOLE = 512; // a picture at least as wide is not enlarged pixel by pixel

const nameOf = (step) => (step === 0 ? W.before : W.after(step));

function Pictures({ left, right }) {
  const [at, setAt] = useState(50);
  const [before, after] = [usePicture(left, true), usePicture(right, true)];
  const kind = (right.width || 32) <= 64 ? "pixels" : "";
  const size = right.width || WHOLE;
  return html`<div class="compare" style=${{ "--at": `${at}%` }}>
    <img class=${kind} src=${after} alt=${SAMPLES.alt(right.prompt, right.step)} width=${size} height=${right.height || size} />
    <img class=${`over ${kind}`} src=${before} alt=${SAMPLES.alt(left.prompt, left.step)} width=${size} height=${right.height || size} />
    <span class="tag left" aria-hidden="true">${nameOf(left.step)}</span><span class="tag right" aria-hidden="true">${nameOf(right.step)}</span><i class="divider" aria-hidden="true"></i>
    <input type="range" min="0" max="100" value=${at} aria-label=${W.divider} aria-valuetext=${`${nameOf(left.step)} ${at} %`} onInput=${(event) => setAt(Number(event.target.value))} /></div>`;
}

function Answers({ left, right }) {
  const side = (sample) => html`<div><small class="meta">${nameOf(sample.step)}</small><p class="said">${sample.text}</p></div>`;
  return html`<div class="answers">${side(left)}${side(right)}</div>`;
}

export function Compare({ row, steps, samples, left, right, choose }) {
  const [one, other] = [row.cells.get(left), row.cells.get(right)];
  if (!one || !other) return null;
  const options = steps.filter((step) => row.cells.has(step)).map((step) => {
    const label = step === 0 ? "" : labelOf(labelsAt(samples, step));
    return html`<option key=${step} value=${step}>${nameOf(step)}${label ? `, ${label}` : ""}</option>`;
  });
  const select = (label, value, side) => html`<label class="meta">${label} <select value=${value} onChange=${(event) => choose({ [side]: Number(event.target.value) })}>${options}</select></label>`;
  const texts = typeof other.text === "string";
  return html`<div class=${texts ? "comparing texts" : "comparing"}>${texts ? html`<p class="voice asked">${row.prompt}</p><${Answers} left=${one} right=${other} />` : html`<${Pictures} left=${one} right=${other} />`}
    <p class="row">${!texts && html`<span class="voice asked">“${row.prompt}”</span>`}<span class="row">${select(W.compare, left, "left")} ${select(W.with, right, "right")}</span></p></div>`;
}
