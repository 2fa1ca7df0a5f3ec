// What each kept step draws or writes for the same words.
import { html, useEffect, useState } from "../../lib/html.js";
import { bytes } from "../../lib/api.js";
import { RESULT } from "../../words/result.js";
import { SAMPLES as W } from "../../words/working.js";

const NAMED = ["published", "turning_point", "matched_loss", "last"];

/** What a kept step is called: its most telling label. */
export const labelOf = (labels) => (labels?.includes("published") ? RESULT.labels.published : NAMED.filter((name) => labels?.includes(name)).map((name) => RESULT.labels[name]).join(", "));

/** A picture's whole address: in the answer itself where it is small, else fetched with the key. */
export function usePicture(sample, whole) {
  const inline = sample?.image || (!whole && sample?.thumbnail) || null;
  const [address, setAddress] = useState(inline);
  useEffect(() => {
    setAddress(inline || sample?.thumbnail || null);
    if (inline || !sample?.image_url) return;
    let made;
    let gone = false;
    bytes(sample.image_url).then(
      (blob) => {
        if (gone) return;
        made = URL.createObjectURL(blob);
        setAddress(made);
      },
      () => {}, // the thumbnail stays
    );
    return () => {
      gone = true;
      if (made) URL.revokeObjectURL(made);
    };
  }, [sample?.id, inline, sample?.image_url]);
  return address;
}

export function Shot({ sample, size = 84, alt }) {
  const address = usePicture(sample, false);
  if (!sample) return null;
  if (sample.text !== null && sample.text !== undefined) return html`<p class="said">${sample.text}</p>`;
  const pixels = sample.width ? sample.width <= 64 : true;
  return address && html`<img class=${pixels ? "pixels" : ""} src=${address} width=${size} height=${size} alt=${alt ?? W.alt(sample.prompt, sample.step)} />`;
}

/** Samples by prompt, each with its cells by step; of older jobs, whose samples have no number, by its words alone. */
export function byPrompt(samples) {
  const rows = [];
  for (const sample of samples) {
    const { prompt, role, step } = sample;
    const key = sample.number ?? prompt;
    let row = rows.find((one) => one.key === key);
    if (!row) rows.push((row = { key, prompt, role, cells: new Map() }));
    row.cells.set(step, sample);
  }
  return rows;
}

export const stepsOf = (samples) => [...new Set(samples.map((sample) => sample.step))].sort((a, b) => a - b);

/** The labels of a step, wherever they are told. */
export const labelsAt = (samples, step) => samples.find((sample) => sample.step === step && sample.labels?.length)?.labels || [];

function Row({ row, steps, samples }) {
  const chosen = (step) => (labelsAt(samples, step).includes("published") ? "chosen" : undefined);
  return html`<tr><th scope="row">${row.prompt}</th>${steps.map((step) => html`<td key=${step} class=${chosen(step)}><${Shot} sample=${row.cells.get(step)} /></td>`)}</tr>`;
}

export function Samples({ samples }) {
  const steps = stepsOf(samples);
  const rows = byPrompt(samples);
  const texts = samples.some((sample) => sample.text);
  const head = (step) => {
    const labels = labelsAt(samples, step);
    return html`<th key=${step} scope="col" class=${labels.includes("published") ? "chosen" : undefined}><span class="num">${step === 0 ? W.before : step}</span><small>${step === 0 ? "" : labelOf(labels)}</small></th>`;
  };
  const group = (role) => {
    const mine = rows.filter((row) => (role === "unrelated") === (row.role === "unrelated"));
    return mine.length > 0 && html`<tbody><tr class="group"><th scope="rowgroup" colspan=${steps.length + 1}>${W[role]}</th></tr>${mine.map((row) => html`<${Row} key=${row.key} row=${row} steps=${steps} samples=${samples} />`)}</tbody>`;
  };
  return html`<section aria-labelledby="samples"><h2 id="samples">${texts ? W.titleTexts : W.title}</h2><p class="hint">${texts ? W.leadTexts : W.lead}</p>
    <div class="scroll" tabindex="0" role="group" aria-labelledby="samples"><table class=${texts ? "grid words" : "grid"}><thead><tr><td></td>${steps.map(head)}</tr></thead>${group("subject")}${group("unrelated")}</table></div></section>`;
}
