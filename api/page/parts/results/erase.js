// Erasing for good, with the receipt that proves it.
import { html, useRef, useState } from "../../lib/html.js";
import { call, save } from "../../lib/api.js";
import { pathOf } from "../../lib/job.js";
import { go, Link } from "../link.js";
import { refused, Refusal, titleOf } from "../notes.js";
import { GENERAL } from "../../words/general.js";
import { RESULT } from "../../words/result.js";

const W = RESULT.erase;
const PATIENCE = 20; // looks at the receipt, half a second apart

/** Everything that was sent for a job. */
const uploadsOf = (job) => [job.training_file, ...(job.bat.request.training_files || []), job.validation_file].filter(Boolean);

/** Erase uploads and tell how many of them stay; what is not there any more does not. */
async function stay(uploads) {
  let kept = 0;
  for (const file of uploads) await call(`/v1/files/${file}`, { method: "DELETE" }).catch((failure) => (kept += failure.status !== 404));
  return kept;
}

/** The finished receipt; null where the erasing takes longer than one waits for. */
async function receiptOf(erasure) {
  for (let look = 0; look < PATIENCE; look++) {
    const receipt = await call(`/v1/erasures/${erasure}`);
    if (receipt.status === "completed") return receipt;
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
  return null;
}

export const saveReceipt = (receipt) => save(new Blob([JSON.stringify(receipt, null, 2)], { type: "application/json" }), `receipt-${receipt.id}.json`);

function Done({ receipt, kept }) {
  return html`<p class="voice" role="status">${W.done}</p>${kept && html`<p class="note">${W.filesKept}</p>`}
    <p class="row">${receipt ? html`<button type="button" class="button" onClick=${() => saveReceipt(receipt)}>${W.receipt}</button>` : html`<span class="hint">${W.pending}</span>`}<${Link} to="/" class="quiet">${GENERAL.nav.list}<//></p>`;
}

export function Erase({ job }) {
  const box = useRef(null);
  const [typed, setTyped] = useState("");
  const [files, setFiles] = useState(false);
  const [busy, setBusy] = useState(false);
  const [done, setDone] = useState(null);
  const [error, setError] = useState(null);
  const name = titleOf(job);
  const erase = async (event) => {
    event.preventDefault();
    setBusy(true);
    try {
      const { bat } = await call(pathOf(job.id), { method: "DELETE" });
      const kept = files ? await stay(uploadsOf(job)) : 0;
      setDone({ receipt: await receiptOf(bat.erasure), kept: kept > 0 });
    } catch (failure) {
      refused(setError)(failure);
    }
    setBusy(false);
    if (box.current && !box.current.open) box.current.showModal(); // who has closed it meanwhile is told all the same
  };
  const close = () => (done ? go("/") : busy || setTyped(""));
  return html`<section class="erase"><div><h2>${W.title}</h2><p class="hint">${W.lead}</p></div><button type="button" class="button danger" onClick=${() => box.current.showModal()}>${W.open}</button>
    <dialog ref=${box} aria-labelledby="erase-title" onClose=${close} onCancel=${(event) => busy && event.preventDefault()}><h2 id="erase-title">${W.open}</h2>
      ${done ? html`<${Done} ...${done} />` : html`<form onSubmit=${erase}><p>${W.lead}</p><label class="check"><input type="checkbox" checked=${files} onChange=${(event) => setFiles(event.target.checked)} /> ${W.files}</label>
        <label for="erase-name">${W.ask(name)}</label><input id="erase-name" autocomplete="off" value=${typed} onInput=${(event) => setTyped(event.target.value)} /><${Refusal} error=${error} />
        <p class="row"><button class="button danger" disabled=${busy || typed !== name}>${busy ? W.going : W.go}</button><button type="button" class="quiet" disabled=${busy} onClick=${() => box.current.close()}>${W.keep}</button></p></form>`}</dialog></section>`;
}
