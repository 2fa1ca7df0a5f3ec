// Where a job stands: one sentence, six stages as wide as the time they take, and what is left.
import { html } from "../../lib/html.js";
import { duration, percent, width } from "../../lib/format.js";
import { STAGES } from "../../words/making.js";
import { WORKING as W } from "../../words/working.js";

const NAMES = Object.keys(STAGES);
const NARROWEST = 0.07; // a stage's word needs this share

/** The stages as the job tells them; from its present one alone where it tells no more. */
export function stagesOf(bat) {
  if (bat.stages?.length) return bat.stages;
  const here = NAMES.indexOf(bat.stage);
  return NAMES.map((name, index) => ({ name, state: index < here ? "done" : index === here ? "running" : "waiting", seconds: 0, expected: 1 }));
}

export function sentenceOf(job) {
  const { bat, status } = job;
  if (job.error?.code === "source_gone") return W.sourceGone(bat.published_from.step);
  if (job.error) return job.error.message;
  if (status === "running" && bat.cancel_requested) return W.stopping;
  if (status === "running" && bat.pause_requested) return W.pausing;
  if (status === "running" && bat.published_from) return W.publishing(bat.published_from.step);
  if (status === "running") return STAGES[bat.stage]?.[1] || W.finishing;
  if (status === "queued") return W.queued(bat.queue_position);
  return W[status] || "";
}

export function Stages({ job }) {
  const { bat } = job;
  const stages = stagesOf(bat);
  const weight = (stage) => (stage.state === "skipped" ? 0 : Math.max(stage.expected || 0, stage.seconds || 0));
  const all = stages.reduce((sum, stage) => sum + weight(stage), 0) || 1;
  const filled = (stage) => ({ done: 1, running: bat.progress, paused: bat.progress })[stage.state] ?? 0;
  const overall = bat.overall ?? stages.reduce((sum, stage) => sum + (weight(stage) / all) * filled(stage), 0);
  const running = job.status === "running";
  return html`<ol class="stages">${stages.map(
    (stage) => html`<li key=${stage.name} class=${stage.state} style=${{ flexGrow: stage.state === "skipped" ? NARROWEST : Math.max(NARROWEST, weight(stage) / all) }} aria-current=${stage.state === "running" ? "step" : undefined}
      title=${stage.state === "skipped" ? W.skipped : stage.state === "done" && stage.seconds ? W.spent(duration(stage.seconds)) : undefined}><i><b style=${{ width: width(filled(stage)) }}></b></i><span>${STAGES[stage.name]?.[0] || stage.name}</span></li>`,
  )}</ol>
    <p class="meta num progress">${running ? `${W.done(percent(overall))}${bat.eta_seconds ? `, ${W.left(duration(bat.eta_seconds))}` : ""}` : job.status === "paused" ? W.done(percent(overall)) : ""}</p>`;
}
