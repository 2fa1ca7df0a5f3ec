// How it is made, or was: curves, samples step by step, what it drew on, and every decision.
import { html } from "../lib/html.js";
import { ACTIVE } from "../lib/job.js";
import { moment } from "../lib/format.js";
import { Curves } from "../parts/results/curves.js";
import { Influence } from "../parts/results/influence.js";
import { Exact, Remark } from "../parts/notes.js";
import { Own } from "../parts/results/own.js";
import { Samples } from "../parts/results/samples.js";
import { WORKING as W } from "../words/working.js";

function Later({ of }) {
  return of.length > 0 && html`<section class="later"><h2>${W.later}</h2><ul>${of.map((what) => html`<li key=${what}>${what}</li>`)}</ul></section>`;
}

function Decided({ resolved }) {
  const reasons = Object.entries(resolved.reasons || {});
  const value = (name) => (name in resolved && typeof resolved[name] !== "object" ? `: ${resolved[name]}` : "");
  return reasons.length > 0 && html`<${Exact} title=${W.decided}><dl class="reasons">${reasons.map(([name, why]) => html`<dt key=${name}>${name.replaceAll("_", " ")}${value(name)}</dt><dd>${why}</dd>`)}</dl><//>`;
}

function Log({ events }) {
  return events.length > 0 && html`<${Exact} title=${W.log}><ol class="log">${events.map((event) => html`<li key=${event.id} class=${event.level}><time class="num">${moment(event.created_at)}</time> ${event.message}</li>`)}</ol><//>`;
}

/** What is not there yet, in the order in which it comes; an empty box says nothing. */
function missing({ metrics, samples, influence, job }) {
  const texts = job.bat.resolved?.kind === "texts";
  return [
    metrics.length < 2 && W.laterCurves,
    !job.bat.references && W.laterOwn,
    influence === null && W.laterInfluence,
    samples.length === 0 && (texts ? W.laterAnswers : W.laterSamples),
  ].filter(Boolean);
}

export function Training(state) {
  const { job, metrics, samples, influence, items, events } = state;
  const { bat } = job;
  const active = ACTIVE.includes(job.status);
  const trains = active && !bat.published_from; // and is not what another one has learned already
  return html`${bat.findings?.length > 0 && active && html`<section class="remarks"><h2>${W.remarks}</h2>${bat.findings.map((finding) => html`<${Remark} key=${finding.code + finding.item} of=${finding} />`)}</section>`}
    ${samples.length > 0 && trains && html`<${Samples} samples=${samples} />`}
    <${Curves} metrics=${metrics} bat=${bat} active=${trains} />
    ${samples.length > 0 && !trains && html`<${Samples} samples=${samples} />`}
    ${influence && html`<${Influence} influence=${influence} bat=${bat} />`}
    ${bat.references?.length > 0 && html`<${Own} references=${bat.references} items=${items} changed=${bat.training_versions?.some((file) => file.changed || file.erased)} />`}
    ${trains && html`<${Later} of=${missing(state)} />`}
    ${bat.resolved && html`<${Decided} resolved=${bat.resolved} />`}<${Log} events=${events} />`;
}
