// The adapter in every format, with the lines that load it; another kept step as its weights.
import { html, useState } from "../../lib/html.js";
import { download } from "../../lib/api.js";
import { size } from "../../lib/format.js";
import { Copied, refused, Refusal } from "../notes.js";
import { RESULT as W } from "../../words/result.js";

const ORDER = ["kohya", "diffusers", "gguf", "peft", "merged", "card"];

function Get({ path, name, label, quiet }) {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState(null);
  const get = () => {
    setBusy(true);
    setError(null);
    download(path, name).catch(refused(setError)).finally(() => setBusy(false));
  };
  return html`<button type="button" class=${quiet ? "button second" : "button"} disabled=${busy} onClick=${get}>${busy ? W.saving : label}</button><${Refusal} error=${error} />`;
}

function Format({ artifact, model }) {
  const [title, lead] = W.formats[artifact.format] || [artifact.format, ""];
  const name = artifact.name.split("/").at(-1);
  return html`<li><div><h3>${title}</h3><p class="hint">${lead}</p></div>${artifact.usage ? html`<${Copied} text=${artifact.usage} />` : html`<div></div>`}
    <div class="get"><${Get} path=${`/v1/models/${encodeURIComponent(model)}/download?format=${artifact.format}`} name=${name} label=${`${size(artifact.bytes)} ↓`} quiet=${artifact.format === "card"} /></div></li>`;
}

export function Downloads({ job, checkpoint }) {
  const model = job.fine_tuned_model;
  const files = job.bat.artifacts.filter((artifact) => artifact.format).sort((a, b) => ORDER.indexOf(a.format) - ORDER.indexOf(b.format));
  const other = checkpoint && checkpoint.step_number !== job.bat.published_step;
  return html`<section aria-labelledby="downloads"><h2 id="downloads">${W.downloads}</h2><p class="hint">${W.downloadsLead}</p>
    <ul class="downloads">${other && html`<li class="chosen"><div><h3>${W.stepDownload(checkpoint.step_number)}</h3><p class="hint">${W.stepDownloadLead}</p></div><div></div>
      <div class="get"><${Get} key=${checkpoint.id} path=${`/v1/models/${encodeURIComponent(checkpoint.fine_tuned_model_checkpoint)}/download`} name=${`step-${checkpoint.step_number}.safetensors`} label=${`${size(checkpoint.bat.bytes)} ↓`} /></div></li>`}
    ${files.map((artifact) => html`<${Format} key=${artifact.name} artifact=${artifact} model=${model} />`)}</ul></section>`;
}
