// What the job would take, before it is made.
import { html } from "../../lib/html.js";
import { duration, size, width } from "../../lib/format.js";
import { Remark } from "../notes.js";
import { MAKING, STAGES } from "../../words/making.js";

const W = MAKING.estimate;

function basisOf(basis) {
  if (basis.kind !== "measured") return W.rule;
  return basis.jobs ? W.measured(basis.jobs) : W.calibrated;
}

/** How long it takes, in one figure as high as what stands there before. */
export function About({ of }) {
  return html`<p class="figure"><b>${W.about(duration(of.seconds.expected))}</b><small>${W.between(duration(of.seconds.low), duration(of.seconds.high))}</small></p>`;
}

export function Estimate({ of }) {
  const stages = Object.entries(of.stages).filter(([, spread]) => spread.expected > 0);
  const all = stages.reduce((sum, [, spread]) => sum + spread.expected, 0) || 1;
  const before = of.queue.position + of.queue.running;
  return html`<p class="hint">${of.queue.workers === 0 ? W.nobody : of.queue.seconds > 0 ? W.ahead(before) : W.now}</p>
    <div class="share" aria-hidden="true">${stages.map(([name, spread]) => html`<i key=${name} class=${name} style=${{ width: width(spread.expected / all) }}></i>`)}</div>
    <dl class="facts">${stages.map(([name, spread]) => html`<dt key=${name}><i class=${name} aria-hidden="true"></i>${STAGES[name][0]}</dt><dd>${duration(spread.expected)}</dd>`)}</dl>
    <dl class="facts ruled"><dt>${W.memory}</dt><dd>${size(of.peak_memory_bytes.expected)}</dd><dt>${W.result}</dt><dd>${size(of.result_bytes.expected)}</dd><dt>${W.basis}</dt><dd>${basisOf(of.basis)}</dd></dl>`;
}

/** Findings of the estimate that no single file shows already. */
export function Worth({ findings }) {
  if (!findings?.length) return null;
  return html`<h3>${W.remarks}</h3>${findings.map((finding) => html`<${Remark} key=${finding.code + (finding.item || "")} of=${finding} />`)}`;
}
