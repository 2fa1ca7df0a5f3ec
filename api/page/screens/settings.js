// Everything around the adapters: the account, models, webhooks, erasures, the service.
import { html, useEffect, useState } from "../lib/html.js";
import { call } from "../lib/api.js";
import { duration, moment, size } from "../lib/format.js";
import { saveReceipt } from "../parts/results/erase.js";
import { Copied, refused, Refusal } from "../parts/notes.js";
import { GENERAL } from "../words/general.js";
import { SETTINGS as W } from "../words/result.js";

const EVENTS = ["fine_tuning.job.succeeded", "fine_tuning.job.failed", "fine_tuning.job.cancelled"];

const SOURCES = ["/v1/account", "/v1/models?limit=100", "/v1/webhook_endpoints?limit=100", "/v1/erasures?limit=20", "/v1/capabilities", "/readyz", "/v1/files?purpose=fine-tune&limit=100"];

const asked = (path) => call(path).then((value) => ({ value, error: null }), (error) => ({ value: null, error }));

/** Ask for everything at once, so that nothing jumps when the last answer comes. */
function useAnswers() {
  const [answers, setAnswers] = useState(null);
  useEffect(() => {
    Promise.all(SOURCES.map(asked)).then((all) => {
      const out = all.find(({ error }) => error?.status === 401);
      if (out) refused(() => {})(out.error);
      else setAnswers(all);
    });
  }, []);
  const again = (place) => asked(SOURCES[place]).then((answer) => setAnswers((old) => old.map((one, index) => (index === place ? answer : one))));
  return [answers, again];
}

function Sheet({ title, lead, error, children }) {
  return html`<section><h2>${title}</h2>${lead && html`<p class="hint">${lead}</p>`}<div class="sheet"><${Refusal} error=${error} />${children}</div></section>`;
}

function Account({ of: { value: account, error }, leave }) {
  const limit = (value, words) => (value === null ? null : words(value));
  return html`<${Sheet} title=${W.account} error=${error}>${account && html`<dl class="facts"><dt>${W.accountName}</dt><dd>${account.name}</dd>
    <dt>${W.scopes}</dt><dd>${account.scopes.map((scope) => W.scopeWords[scope] || scope).join(", ")}</dd>
    <dt>${W.stored}</dt><dd>${W.of(size(account.stored_bytes), limit(account.bytes_limit, size))}</dd>
    <dt>${W.computing}</dt><dd>${W.of(duration(account.gpu_seconds_used), limit(account.gpu_seconds_limit, duration))}</dd>
    <dt>${W.jobs}</dt><dd>${W.of(account.active_jobs, account.active_job_limit)}</dd><dt>${W.rates}</dt><dd>${W.ratesOf(account.jobs_per_minute, account.requests_per_minute)}</dd></dl>`}
    <p class="row"><button type="button" class="button second small" onClick=${leave}>${W.signOut}</button></p><//>`;
}

function Models({ of: { value: models, error } }) {
  const backbones = (models?.data || []).filter((model) => model.bat.kind === "backbone");
  return html`<${Sheet} title=${W.models} error=${error}>${models && backbones.length === 0 && html`<p class="hint">${W.modelsNone}</p>`}
    ${backbones.length > 0 && html`<div class="scroll"><table class="ledger"><tbody>${backbones.map((model) => html`<tr key=${model.id}><td><b>${model.bat.title || model.id}</b><br /><span class="meta">${[model.bat.description || GENERAL.learns[model.bat.learns_from], model.bat.good_for].filter(Boolean).join(" ")}${model.bat.pool && html`<br />${W.pool(model.bat.pool.candidates, model.bat.pool.licences.join(", "))}`}</span></td><td class="meta">${model.id}</td><td class="meta">${model.bat.licence}</td></tr>`)}</tbody></table></div>`}<//>`;
}

function Endpoint({ endpoint, reload }) {
  const [told, setTold] = useState("");
  const [error, setError] = useState(null);
  const path = `/v1/webhook_endpoints/${endpoint.id}`;
  const test = () => call(`${path}/test`, { method: "POST", body: { event_type: EVENTS[0] } }).then((result) => setTold(W.webhookTested(result.status_code)), refused(setError));
  const remove = () => call(path, { method: "DELETE" }).then(reload, refused(setError));
  return html`<tr><td><b>${endpoint.name}</b><br /><span class="meta">${endpoint.url}</span><${Refusal} error=${error} />${told && html`<p class="meta" role="status">${told}</p>`}</td><td class="meta">${endpoint.bat.enabled ? W.webhookOn : W.webhookOff}</td>
    <td><span class="row"><button type="button" class="quiet" onClick=${test}>${W.webhookTest}</button><button type="button" class="quiet" onClick=${remove}>${W.webhookDelete}</button></span></td></tr>`;
}

function Webhooks({ of: { value: list, error }, reload }) {
  const [fields, setFields] = useState({ name: "", url: "" });
  const [secret, setSecret] = useState(null);
  const [wrong, setWrong] = useState(null);
  const field = (name, label, type) => html`<div><label for=${`webhook-${name}`}>${label}</label><input id=${`webhook-${name}`} type=${type} required value=${fields[name]} onInput=${(event) => setFields({ ...fields, [name]: event.target.value })} /></div>`;
  const add = (event) => {
    event.preventDefault();
    call("/v1/webhook_endpoints", { method: "POST", body: { ...fields, event_types: EVENTS } }).then((made) => {
      setSecret(made.signing_secret);
      setFields({ name: "", url: "" });
      setWrong(null);
      reload();
    }, refused(setWrong));
  };
  return html`<${Sheet} title=${W.webhooks} lead=${W.webhooksLead} error=${error}>${list?.data.length > 0 && html`<div class="scroll"><table class="ledger"><tbody>${list.data.map((endpoint) => html`<${Endpoint} key=${endpoint.id} endpoint=${endpoint} reload=${reload} />`)}</tbody></table></div>`}
    ${secret && html`<p class="note">${W.webhookSecret}</p><${Copied} text=${secret} />`}
    <form class="inline-form" onSubmit=${add}>${field("name", W.webhookName, "text")}${field("url", W.webhookUrl, "url")}<button class="button">${W.webhookAdd}</button></form><${Refusal} error=${wrong} /><//>`;
}

function Upload({ upload, reload }) {
  const [sure, setSure] = useState(false);
  const [error, setError] = useState(null);
  const { used_by: uses, in_use: busy } = upload.bat;
  const erase = () => call(`/v1/files/${upload.id}`, { method: "DELETE" }).then(reload, refused(setError));
  const button = (kind, words, act) => html`<button type="button" class=${kind} aria-label=${W.uploadNamed(words, upload.filename)} onClick=${act}>${words}</button>`;
  return html`<tr><td><b>${upload.filename}</b><br /><span class="meta">${busy ? W.uploadBusy : W.uploadUses(uses)}</span><${Refusal} error=${error} /></td><td class="meta">${size(upload.bytes)}</td><td class="meta">${moment(upload.created_at)}</td>
    <td>${!busy && html`<span class="row">${sure ? html`${button("button danger small", W.uploadSure, erase)}${button("quiet", W.uploadKeep, () => setSure(false))}` : button("quiet", W.uploadErase, () => setSure(true))}</span>`}</td></tr>`;
}

function Uploads({ of: { value: list, error }, reload }) {
  return html`<${Sheet} title=${W.uploads} lead=${W.uploadsLead} error=${error}>${list?.data.length === 0 && html`<p class="hint">${W.uploadsNone}</p>`}
    ${list?.data.length > 0 && html`<div class="scroll"><table class="ledger"><tbody>${list.data.map((upload) => html`<${Upload} key=${upload.id} upload=${upload} reload=${reload} />`)}</tbody></table></div>`}${list?.has_more && html`<p class="hint">${W.uploadsMore}</p>`}<//>`;
}

function Erasures({ of: { value: list, error } }) {
  return html`<${Sheet} title=${W.erasures} error=${error}>${list?.data.length === 0 && html`<p class="hint">${W.erasuresNone}</p>`}
    ${list?.data.length > 0 && html`<div class="scroll"><table class="ledger"><tbody>${list.data.map((erasure) => html`<tr key=${erasure.id}><td>${moment(erasure.requested_at)}</td><td class="meta">${erasure.kind} ${erasure.target}</td><td>${erasure.status === "completed" && html`<button type="button" class="quiet" onClick=${() => saveReceipt(erasure)}>${W.receipt}</button>`}</td></tr>`)}</tbody></table></div>`}<//>`;
}

function Service({ about, ready }) {
  return html`<${Sheet} title=${W.service}><dl class="facts">${about && html`<dt>${W.version}</dt><dd>${about.version}</dd><dt>${W.largest}</dt><dd>${size(about.limits.file_bytes)}</dd>`}
    <dt>${W.workers}</dt><dd>${ready?.status === "ready" ? W.ready : W.notReady}</dd></dl>
    ${Object.values(ready?.details || {}).map((words) => html`<p class="note">${words}</p>`)}<p class="hint">${W.docs} <a href="/docs">/docs</a></p><//>`;
}

export function Settings({ leave }) {
  const [answers, again] = useAnswers();
  if (!answers) return html`<h1>${W.title}</h1>`;
  const [account, models, webhooks, erasures, about, ready, uploads] = answers;
  return html`<h1>${W.title}</h1><${Account} of=${account} leave=${leave} />
    <${Sheet} title=${W.keys} lead=${W.keysLead}><${Copied} text="albatross keys create NAME" /><//><${Models} of=${models} />
    <${Webhooks} of=${webhooks} reload=${() => again(2)} /><${Uploads} of=${uploads} reload=${() => [0, 3, 6].forEach(again)} /><${Erasures} of=${erasures} /><${Service} about=${about.value} ready=${ready.value} />`;
}
