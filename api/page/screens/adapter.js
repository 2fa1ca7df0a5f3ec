// One adapter at one address for its whole life: waiting, working, paused, failed, ready.
import { html, useEffect, useState } from "../lib/html.js";
import { ACTIVE, useJob } from "../lib/job.js";
import { draft } from "../lib/session.js";
import { Erase } from "../parts/results/erase.js";
import { go, Link } from "../parts/link.js";
import { refused, Refusal, Status, titleOf } from "../parts/notes.js";
import { sentenceOf, Stages } from "../parts/results/stages.js";
import { Result } from "./result.js";
import { Training } from "./training.js";
import { GENERAL, say } from "../words/general.js";
import { RESULT } from "../words/result.js";
import { WORKING as W } from "../words/working.js";

/** Open the form with what this job was asked for, its other files too. */
export function repeat(job, file = job.training_file) {
  const { preset, trigger, ...bat } = job.bat.request;
  draft("new").write({ file, own: file !== job.training_file, model: job.model, preset: preset || null, trigger: trigger || "", name: job.user_provided_suffix || "", bat, validation: job.validation_file, captions: {} });
  go("/new");
}

function Title({ job, order }) {
  const [typed, setTyped] = useState(null);
  const [error, setError] = useState(null);
  const close = () => (setTyped(null), setError(null));
  const save = (event) => {
    event.preventDefault();
    order("", { name: typed.trim() || null }).then(close, refused(setError));
  };
  if (typed === null) return html`<span class="row"><h1>${titleOf(job)} <${Status} job=${job} /></h1><button type="button" class="link faint" onClick=${() => setTyped(titleOf(job))}>${W.rename}</button></span>`;
  return html`<form class="row" onSubmit=${save}><input aria-label=${W.name} maxlength="80" value=${typed} ref=${(field) => field?.focus()} onInput=${(event) => setTyped(event.target.value)} /><button class="button small">${W.save}</button><button type="button" class="quiet" onClick=${close}>${W.keepName}</button><${Refusal} error=${error} /></form>`;
}

function Orders({ job, order }) {
  const [error, setError] = useState(null);
  const { pause_requested: pausing, cancel_requested: stopping } = job.bat;
  const [busy, setBusy] = useState(false);
  const give = (what) => () => {
    setBusy(true);
    order(what).then(() => setError(null), refused(setError)).finally(() => setBusy(false));
  };
  const stop = () => confirm(W.stopAsk) && give("/cancel")();
  return html`<span class="row">${job.status === "paused" ? html`<button type="button" class="button small" disabled=${busy} onClick=${give("/resume")}>${W.resume}</button>` : html`<button type="button" class="quiet" disabled=${busy || pausing || stopping} onClick=${give("/pause")}>${W.pause}</button>`}
    <button type="button" class="quiet" disabled=${busy || stopping} onClick=${stop}>${W.stop}</button></span><${Refusal} error=${error} />`;
}

/** The user's own pictures, small, so that it is seen whose job this is. */
function Strip({ items }) {
  const pictures = (items || []).filter((item) => item.thumbnail).slice(0, 14);
  return pictures.length > 0 && html`<div class="strip" aria-hidden="true">${pictures.map((item) => html`<img key=${item.id} src=${item.thumbnail} alt="" width="40" height="40" class=${item.width <= 64 ? "pixels" : ""} />`)}</div>`;
}

// of a failure, what only the service's operator can mend
const OPERATORS = ["backbone_unavailable", "storage_unavailable", "worker_crashed", "out_of_memory", "internal_error"];

/** From a job that came to nothing to the next one; a kept step is chosen again where it lies, if it does. */
function Again({ job }) {
  const from = job.bat.published_from?.job;
  if (from && job.error?.code !== "source_gone") return html`<${Link} to=${`/adapters/${from}`} class="button">${W.chooseAgain}<//>`;
  return html`<button type="button" class="button" onClick=${() => repeat(job)}>${W.again}</button>`;
}

function Now({ job, items, live }) {
  const active = ACTIVE.includes(job.status);
  return html`<section class=${`now ${job.status}`}><${Strip} items=${items} /><p class="voice sentence" aria-live="polite">${sentenceOf(job)}</p>
    ${(active || job.bat.stage) && html`<${Stages} job=${job} />`}
    ${OPERATORS.includes(job.error?.code) && html`<p>${W.operators}</p>`}
    <p class="hint">${active ? W.close : html`<${Again} job=${job} />`}${active && !live ? ` ${W.reconnecting}` : ""}</p></section>`;
}

function Tabs({ id, tab }) {
  const here = (name) => (tab === name ? "page" : undefined);
  return html`<nav class="tabs" aria-label=${RESULT.tabs.training}><${Link} to=${`/adapters/${id}`} aria-current=${here("result")}>${RESULT.tabs.result}<//><${Link} to=${`/adapters/${id}/training`} aria-current=${here("training")}>${RESULT.tabs.training}<//></nav>`;
}

function Missing({ error }) {
  return html`<section class="quiet-page"><h1>${GENERAL.notFound.title}</h1><p class="voice">${say(error)}</p><${Link} to="/" class="button">${GENERAL.nav.list}<//></section>`;
}

export function Adapter({ id, tab }) {
  const [state, order] = useJob(id);
  const { job, error, items, live } = state;
  useEffect(() => {
    if (job) document.title = `${titleOf(job)} · ${GENERAL.status[job.status]} · ${GENERAL.product}`;
  }, [job && titleOf(job), job?.status]);
  if (!job && error) return error.status === 404 ? html`<${Missing} error=${error} />` : html`<${Refusal} error=${error} />`;
  if (!job) return html`<p class="hint" role="status">${GENERAL.loading}</p>`;
  const ready = job.status === "succeeded";
  return html`<div class="row spread head"><${Title} job=${job} order=${order} />
      ${ready ? html`<${Tabs} id=${id} tab=${tab} />` : ACTIVE.includes(job.status) && html`<${Orders} job=${job} order=${order} />`}</div>
    ${job.bat.published_from && html`<p class="hint source">${W.from(job.bat.published_from.step)} ${job.error?.code === "source_gone" ? W.fromErased : html`<${Link} to=${`/adapters/${job.bat.published_from.job}`}>${W.fromWhich}<//>`}</p>`}
    ${error && error.status !== 0 && html`<${Refusal} error=${error} />`}
    ${!ready && html`<${Now} job=${job} items=${items} live=${live} />`}
    ${ready && tab === "result" ? html`<${Result} ...${state} repeat=${repeat} />` : html`<${Training} ...${state} />`}
    ${!ready && !ACTIVE.includes(job.status) && html`<${Erase} job=${job} />`}`;
}
