// The finished adapter: what it does, why it stopped where it did, and how to take it away.
import { html, useMemo, useState } from "../lib/html.js";
import { bytes, call, every, send } from "../lib/api.js";
import { duration, percent } from "../lib/format.js";
import { Compare } from "../parts/results/compare.js";
import { Downloads } from "../parts/results/downloads.js";
import { Erase } from "../parts/results/erase.js";
import { Flight } from "../parts/results/flight.js";
import { Exact, refused, Refusal } from "../parts/notes.js";
import { itemOf, misfits } from "../parts/results/own.js";
import { byPrompt, stepsOf } from "../parts/results/samples.js";
import { lookedAt, MUCH, NEAR, reasonOf, wayOf } from "../parts/results/why.js";
import { RESULT as W } from "../words/result.js";

const KEPT_AS = { images: "zip", texts: "jsonl" }; // what the service makes of an upload, whatever it was

function Figure({ value, words, warm }) {
  return html`<div><b class=${warm ? "num warm" : "num"}>${value}</b><span>${words}</span></div>`;
}

function Figures({ job }) {
  const { bat } = job;
  const way = wayOf(bat);
  const gain = bat.expected_improvement;
  const { asked, fitting, unrelated_asked: unrelated, unrelated_fitting: swallowed } = lookedAt(bat);
  return html`<div class="figures">${way !== null && html`<${Figure} value=${percent(way)} words=${W.figures.way} warm=${way < NEAR} />`}
    ${asked > 0 && html`<${Figure} value=${W.figures.of(fitting, asked)} words=${W.figures.voiced} warm=${fitting < NEAR * asked} />`}
    ${unrelated > 0 && html`<${Figure} value=${W.figures.of(swallowed, unrelated)} words=${W.figures.voicedToo} warm=${swallowed > 0} />`}
    ${typeof gain === "number" && html`<${Figure} value=${percent(Math.abs(gain))} words=${gain < 0 ? W.figures.worse : W.figures.gain} warm=${gain < 0} />`}
    ${typeof bat.forgetting === "number" && html`<${Figure} value=${percent(Math.abs(bat.forgetting))} words=${bat.forgetting < 0 ? W.figures.keptBetter : W.figures.kept} warm=${bat.forgetting > MUCH} />`}
    <${Figure} value=${duration(job.finished_at - job.created_at)} words=${W.figures.time} /></div>`;
}

/** Upload the job's files again, without those that these references were, and return the new upload's id. */
async function copyWithout(job, references) {
  const path = `/v1/files/${job.training_file}`;
  const [content, { filename, bat }, items] = await Promise.all([bytes(`${path}/content?redirect=false`), call(path), every(`${path}/items?thumbnails=false`, 100)]);
  // by their names: a job passes over texts that its model cannot write, so its places are not those of the upload
  const places = new Set(references.map((reference) => items.indexOf(itemOf(reference, items))));
  const form = new FormData();
  form.append("purpose", "fine-tune");
  form.append("file", content, `${filename.replace(/\.[^.]*$/, "")}.${KEPT_AS[bat.kind]}`);
  const { id } = await send("/v1/files", form, () => {}).done;
  const copies = await every(`/v1/files/${id}/items?thumbnails=false`, 100);
  for (const place of [...places].filter((place) => place >= 0).sort((a, b) => b - a)) await call(`/v1/files/${id}/items/${copies[place].id}`, { method: "DELETE" });
  return id;
}

/** Good figures do not show a stranger among the references, so it is said first. */
function Misfits({ job, repeat }) {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState(null);
  const references = job.bat.references || [];
  const { hurts, doubtful, twice } = misfits(references);
  const sure = [...hurts, ...twice];
  const out = sure.length ? sure : doubtful; // what only may not belong stays with the others, to be looked at
  const left = references.length - out.length;
  if (!out.length) return null;
  const again = () => {
    setBusy(true);
    copyWithout(job, out).then((file) => repeat(job, file), refused(setError)).finally(() => setBusy(false));
  };
  const names = (some) => some.map((reference) => reference.name);
  const several = (job.bat.request.training_files || []).length > 0; // whose places are not those of one upload
  return html`<div class="note misfits" role="note"><p>${hurts.length > 0 && W.misfits(names(hurts))} ${doubtful.length > 0 && W.doubtful(names(doubtful))} ${twice.length > 0 && W.twice(names(twice))}</p>
    ${left > 1 && !several && html`<button type="button" class="button small" disabled=${busy} onClick=${again}>${busy ? W.withoutGoing : W.without(names(out), sure.length && doubtful.length)}</button>`}<${Refusal} error=${error} /></div>`;
}

function Prompts({ rows, chosen, choose, texts }) {
  return html`<div class="prompts" role="group" aria-label=${texts ? W.question : W.words}>${rows.map((row) => html`<button key=${row.key} type="button" aria-pressed=${row === chosen} class=${row === chosen ? "chosen" : ""} onClick=${() => choose(row.key)}><span>${row.prompt}</span></button>`)}</div>`;
}

export function Result({ job, samples, checkpoints, metrics, repeat }) {
  const { bat } = job;
  const [chosen, setChosen] = useState({ row: null, left: 0, right: bat.published_step });
  const rows = useMemo(() => byPrompt(samples), [samples]);
  const steps = useMemo(() => stepsOf(samples), [samples]);
  const row = rows.find((one) => one.key === chosen.row) || rows[0];
  const change = (part) => setChosen({ ...chosen, ...part });
  const right = steps.includes(chosen.right) ? chosen.right : steps.at(-1);
  const left = steps.includes(chosen.left) ? chosen.left : steps[0];
  const texts = samples.some((sample) => typeof sample.text === "string");
  return html`<${Misfits} job=${job} repeat=${repeat} /><div class=${texts ? "outcome texts" : "outcome"}>${row && html`<${Compare} row=${row} steps=${steps} samples=${samples} left=${left} right=${right} choose=${change} />`}
      <div class="why"><h2 class="meta">${W.why}</h2><p class="voice sentence">${reasonOf(bat)}</p><${Figures} job=${job} />
        ${bat.reasons?.stop && html`<${Exact} title=${W.exact}>${[bat.reasons.stop, bat.reasons.confidence, bat.reasons.forgetting].filter(Boolean).map((words) => html`<p>${words}</p>`)}<//>`}</div></div>
    ${row && html`<section aria-labelledby="steps"><h2 id="steps">${bat.published_from ? W.stepsOfSource : W.steps}</h2><p class="hint">${bat.published_from ? W.stepsOfSourceLead : W.stepsLead}</p><${Prompts} rows=${rows} chosen=${row} choose=${(row) => change({ row })} texts=${texts} />
      <${Flight} row=${row} steps=${steps.filter((step) => row.cells.has(step))} samples=${samples} metrics=${metrics} chosen=${right} choose=${(step) => change({ right: step })} /></section>`}
    <${Downloads} job=${job} checkpoint=${checkpoints.find((one) => one.step_number === right)} /><${Erase} job=${job} />`;
}
