// The adapter in every format, with the lines that load it; another kept step as its weights.
import { html, useState } from "../../lib/html.js";
import { call, download } from "../../lib/api.js";
import { percent, size } from "../../lib/format.js";
import { pathOf } from "../../lib/job.js";
import { go } from "../link.js";
import { Copied, refused, Refusal } from "../notes.js";
import { RESULT as W } from "../../words/result.js";

const ORDER = ["kohya", "diffusers", "gguf", "peft", "merged", "card"];

const given = (show) => (failure) => failure.name === "AbortError" || refused(show)(failure); // no place was chosen

function Get({ path, name, bytes, quiet }) {
  const [share, setShare] = useState(null); // of what has come, while it comes
  const [error, setError] = useState(null);
  const get = () => {
    setShare(0);
    setError(null);
    download(path, name, bytes, setShare).catch(given(setError)).finally(() => setShare(null));
  };
  return html`<button type="button" class=${quiet ? "button second" : "button"} disabled=${share !== null} onClick=${get}>${share === null ? `${size(bytes)} ↓` : `${W.saving} ${percent(share)}`}</button><${Refusal} error=${error} />`;
}

function Format({ artifact, model }) {
  const [title, lead] = W.formats[artifact.format] || [artifact.format, ""];
  const name = artifact.name.split("/").at(-1);
  return html`<li><div><h3>${title}</h3><p class="hint">${lead}</p></div>${artifact.usage ? html`<${Copied} text=${artifact.usage} />` : html`<div></div>`}
    <div class="get"><${Get} path=${`/v1/models/${encodeURIComponent(model)}/download?format=${artifact.format}&redirect=false`} name=${name} bytes=${artifact.bytes} quiet=${artifact.format === "card"} /></div></li>`;
}

/** An adapter of its own from a kept step; the one that is here stays. */
function Publish({ job, checkpoint }) {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState(null);
  const publish = () => {
    setBusy(true);
    const made = call(`${pathOf(job.id)}/checkpoints/${checkpoint.id}/publish`, { method: "POST" });
    made.then(({ id }) => go(`/adapters/${id}`), refused(setError)).finally(() => setBusy(false));
  };
  return html`<div><button type="button" class="button second" disabled=${busy} onClick=${publish}>${busy ? W.publishing : W.publish}</button><${Refusal} error=${error} /></div>`;
}

export function Downloads({ job, checkpoint }) {
  const model = job.fine_tuned_model;
  const files = job.bat.artifacts.filter((artifact) => artifact.format).sort((a, b) => ORDER.indexOf(a.format) - ORDER.indexOf(b.format));
  const other = checkpoint && checkpoint.step_number !== job.bat.published_step;
  return html`<section aria-labelledby="downloads"><h2 id="downloads">${W.downloads}</h2><p class="hint">${W.downloadsLead}</p>
    <ul class="downloads">${other && html`<li class="chosen"><div><h3>${W.stepDownload(checkpoint.step_number)}</h3><p class="hint">${W.stepDownloadLead}</p></div><${Publish} key=${checkpoint.id} job=${job} checkpoint=${checkpoint} />
      <div class="get"><${Get} key=${checkpoint.id} path=${`/v1/models/${encodeURIComponent(checkpoint.fine_tuned_model_checkpoint)}/download?redirect=false`} name=${`step-${checkpoint.step_number}.safetensors`} bytes=${checkpoint.bat.bytes} /></div></li>`}
    ${files.map((artifact) => html`<${Format} key=${artifact.name} artifact=${artifact} model=${model} />`)}</ul></section>`;
}
