// The curves of a job, as its stages bring them.
import { html, useMemo } from "../../lib/html.js";
import { figure } from "../../lib/format.js";
import { Chart } from "./chart.js";
import { CURVES as W } from "../../words/working.js";

const SMOOTHING = 0.9;
const TABLE_ROWS = 60;
const LINES = {
  loss: { color: "--ink-4", thin: true },
  smooth: { color: "--ink-3" },
  reference_loss: { color: "--accent" },
  heldout_loss: { color: "--accent", dash: true },
  probe_loss: { color: "--warm" },
  with: { color: "--accent" },
  without: { color: "--ink-3", dash: true },
  cosine_similarity: { color: "--accent" },
  cs_fluctuation: { color: "--accent" },
};

const known = (value) => typeof value === "number" && Number.isFinite(value);
const pointsOf = (rows, name, stepOf = (row) => row.step) => rows.filter((row) => known(row[name])).map((row) => [stepOf(row), row[name]]).sort((a, b) => a[0] - b[0]);
const line = (name, points) => ({ name, points, ...LINES[name] });

/** The loss of single batches, smoothed over the last ten or so and freed of the bias to its first value. */
function smoothed(points) {
  let mean = 0;
  return points.map(([step, value], index) => {
    mean = SMOOTHING * mean + (1 - SMOOTHING) * value;
    return [step, mean / (1 - SMOOTHING ** (index + 1))];
  });
}

/** The trial beside the rehearsal, at the same number of looks at the user's files: with a share γ of others that takes 1 / (1 - γ) as many steps. */
function trialLines(rehearsal, trial) {
  const share = trial.findLast((row) => known(row.gamma))?.gamma;
  if (share === undefined) return [];
  const alike = trial.filter((row) => row.gamma === share);
  return [line("without", pointsOf(rehearsal, "heldout_loss", (row) => Math.round(row.step / (1 - share)))), line("with", pointsOf(alike, "heldout_loss"))];
}

export function marksOf(bat, train) {
  const turning = bat.turning_point_step ?? train?.findLast((row) => known(row.turning_point))?.turning_point ?? null;
  const marks = [];
  if (turning !== null) marks.push({ step: turning, label: W.marks.turning, color: "--ink-2" });
  if (known(bat.published_step)) marks.push({ step: bat.published_step, label: W.marks.published, color: "--accent", solid: true });
  return marks;
}

function build(metrics, bat) {
  const of = (stage) => metrics.filter((row) => row.stage === stage);
  const [rehearsal, trial, train] = [of("surrogate"), of("trial"), of("train")];
  const loss = pointsOf(train, "loss");
  return {
    last: train.at(-1)?.step,
    marks: marksOf(bat, train),
    loss: [line("loss", loss), line("smooth", smoothed(loss)), ...["reference_loss", "heldout_loss", "probe_loss"].map((name) => line(name, pointsOf(train, name)))],
    cosine: [line("cosine_similarity", pointsOf(train, "cosine_similarity"))],
    settling: [line("cs_fluctuation", pointsOf(train, "cs_fluctuation", (row) => row.cs_step ?? row.step))],
    trial: trialLines(rehearsal, trial),
    rehearsal: ["loss", "reference_loss", "heldout_loss"].map((name) => line(name, pointsOf(rehearsal, name))),
    rows: train.length ? train : rehearsal,
  };
}

const any = (lines) => lines.some((one) => one.points.length > 1);

function Table({ rows }) {
  const names = ["loss", "reference_loss", "heldout_loss", "probe_loss", "cosine_similarity", "cs_fluctuation"].filter((name) => rows.some((row) => known(row[name])));
  const measured = rows.filter((row) => known(row.reference_loss) || known(row.cosine_similarity));
  const every = Math.ceil(measured.length / TABLE_ROWS);
  const shown = measured.filter((_, index) => index % every === 0 || index === measured.length - 1);
  return html`<details class="folded"><summary>${W.table}</summary><div class="scroll" tabindex="0" role="group" aria-label=${W.table}><table class="values"><thead><tr><th scope="col">${W.step}</th>${names.map((name) => html`<th key=${name} scope="col">${W.names[name]}</th>`)}</tr></thead>
    <tbody>${shown.map((row) => html`<tr key=${row.id}><th scope="row" class="num">${row.step}</th>${names.map((name) => html`<td key=${name} class="num">${figure(row[name])}</td>`)}</tr>`)}</tbody></table></div></details>`;
}

export function Curves({ metrics, bat, active }) {
  const all = useMemo(() => build(metrics, bat), [metrics, bat.published_step, bat.turning_point_step, bat.valleys?.length]);
  const valleys = (bat.valleys || []).filter((step) => step !== bat.turning_point_step).map((step) => ({ step, label: W.marks.valley, color: "--ink-3" }));
  const matched = known(bat.matched_loss_step) ? [{ step: bat.matched_loss_step, label: W.marks.matched, color: "--ink-2" }] : [];
  const shared = { marks: all.marks, sync: "train", upto: all.last };
  if (!any(all.rehearsal) && !any(all.loss)) return null;
  return html`<section aria-labelledby="curves"><h2 id="curves">${active ? W.titleNow : W.titlePast}</h2><p class="hint">${W.lead}</p>
    ${any(all.loss) && html`<${Chart} title=${W.loss[0]} lead=${W.loss[1]} lines=${all.loss} height=${250} ...${shared} />`}
    ${(any(all.cosine) || any(all.settling)) && html`<div class="two charts">${any(all.cosine) && html`<${Chart} title=${W.cosine[0]} lead=${W.cosine[1]} lines=${all.cosine} ...${shared} />`}
      ${any(all.settling) && html`<${Chart} title=${W.settling[0]} lead=${W.settling[1]} note=${bat.cs_fluctuation_informative === false ? W.settlingWeak : ""} lines=${all.settling} log ...${{ ...shared, marks: [...valleys, ...all.marks] }} />`}</div>`}
    ${any(all.trial) && html`<${Chart} title=${W.trial[0]} lead=${W.trial[1]} lines=${all.trial} />`}
    ${any(all.rehearsal) && html`<${Chart} title=${W.rehearsal[0]} lead=${W.rehearsal[1]} lines=${all.rehearsal} marks=${matched} />`}
    <${Table} rows=${all.rows} /></section>`;
}
