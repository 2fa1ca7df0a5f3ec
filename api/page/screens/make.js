// A new adapter: files in, three choices that have good defaults, and a button.
import { html, useEffect, useMemo, useRef, useState } from "../lib/html.js";
import { call, every, JOBS } from "../lib/api.js";
import { draft } from "../lib/session.js";
import { useUpload } from "../lib/upload.js";
import { Advanced } from "../parts/making/advanced.js";
import { Choose, Drop, Sending, unadded, useDropped, Write } from "../parts/making/drop.js";
import { About, Estimate, Worth } from "../parts/making/estimate.js";
import { Example } from "../parts/example.js";
import { EMPTY, LEFT_OUT, PictureCard, remarksOf, settleEdits, TextCard, wordless } from "../parts/making/items.js";
import { go } from "../parts/link.js";
import { refused, Refusal, Remark } from "../parts/notes.js";
import { MAKING as W, PRESETS } from "../words/making.js";
import { GENERAL } from "../words/general.js";

const kept = draft("new");
// `own`: the files came in here, and no job has them
const NOTHING = { file: null, own: false, model: null, preset: null, trigger: "", name: "", bat: {}, validation: null, captions: {} };
const PAUSE = 400; // milliseconds without a change before an estimate is asked for
const AGAIN = 5; // seconds until a service that had no answer is asked again, unless it says when
const FIRST_ITEMS = 24; // of many, until all are asked for

/** What was chosen and typed, kept over reloads. */
function useDraft() {
  const [value, setValue] = useState(() => ({ ...NOTHING, form: String(Math.random()), ...kept.read() }));
  const now = useRef(value);
  const gone = useRef(false);
  useEffect(() => () => (gone.current = true), []);
  const change = (part) => {
    // what comes after the form was left goes to the draft that it has left, unless that was given up meanwhile
    if (gone.current && kept.read()?.form !== now.current.form) return;
    now.current = { ...(gone.current ? kept.read() : now.current), ...part };
    kept.write(now.current);
    setValue(now.current);
  };
  const captions = {
    read: (name) => now.current.captions[name],
    all: () => now.current.captions,
    write: (name, text) => change({ captions: { ...now.current.captions, [name]: text } }),
    forget(name, sent) {
      if (sent !== undefined && now.current.captions[name] !== sent) return; // typed on meanwhile
      const { [name]: _, ...rest } = now.current.captions;
      change({ captions: rest });
    },
  };
  return [value, change, captions];
}

/** The job's body as it would be sent now. */
function bodyOf(choice, file, model) {
  const bat = { ...choice.bat };
  if (choice.preset) bat.preset = choice.preset;
  if (choice.trigger.trim() && file.bat.kind === "images") bat.trigger = choice.trigger.trim();
  const body = { model: model.id, training_file: file.id, bat };
  if (choice.validation) body.validation_file = choice.validation;
  return choice.name ? { ...body, suffix: choice.name } : body;
}

/** Ask what `body` would take; again where the content of its file, `version`, has changed, which no id tells. */
function useEstimate(body, version) {
  const [state, setState] = useState({});
  const [tries, setTries] = useState(0);
  const asked = body && JSON.stringify(body);
  useEffect(() => {
    if (!asked) return setState({});
    const stop = new AbortController();
    const failed = (error) => {
      setState((old) => ({ ...old, error }));
      if (passing(error)) timer = setTimeout(() => setTries((number) => number + 1), 1000 * (error.wait || AGAIN));
    };
    let timer = setTimeout(() => {
      call(`${JOBS}/estimate`, { method: "POST", body: JSON.parse(asked), signal: stop.signal }).then(
        (estimate) => setState({ estimate }),
        (error) => stop.signal.aborted || refused(failed)(error),
      );
    }, PAUSE);
    return () => {
      clearTimeout(timer);
      stop.abort();
    };
  }, [asked, version, tries]);
  return state;
}

function useOffers() {
  const [offers, setOffers] = useState(null);
  const [error, setError] = useState(null);
  useEffect(() => {
    let timer;
    let gone = false;
    const failed = (failure) => {
      setError(failure);
      if (passing(failure) && !gone) timer = setTimeout(ask, 1000 * (failure.wait || AGAIN));
    };
    const ask = () =>
      Promise.all([every("/v1/models", 100), every("/v1/presets", 100)]).then(([models, presets]) => {
        setOffers({ models: models.filter((model) => model.bat.kind === "backbone"), presets });
        setError(null);
      }, refused(failed));
    ask();
    return () => {
      gone = true;
      clearTimeout(timer);
    };
  }, []);
  return [offers, error];
}

function Pick({ group, chosen, pick, title, lead, foot }) {
  return html`<label class=${chosen ? "pick chosen" : "pick"}><input type="radio" name=${group} checked=${chosen} onChange=${pick} /><b>${title}</b><span>${lead}</span>${foot && html`<small>${foot}</small>`}</label>`;
}

function Presets({ of, chosen, pick }) {
  return html`<fieldset><legend>${W.common}</legend><div class="picks">${of.map((preset) => {
    const [title, lead] = PRESETS[preset.id] || [preset.description, preset.learns];
    return html`<${Pick} key=${preset.id} group="preset" chosen=${preset.id === chosen} pick=${() => pick(preset.id)} title=${title} lead=${lead} />`;
  })}</div></fieldset>`;
}

function Models({ of, chosen, pick }) {
  return html`<fieldset><legend>${W.model}</legend><div class="picks">${of.map((model) => {
    const { bat } = model;
    const lead = [bat.description || GENERAL.learns[bat.learns_from], bat.good_for].filter(Boolean).join(" ");
    return html`<${Pick} key=${model.id} group="model" chosen=${model.id === chosen?.id} pick=${() => pick(model.id)} title=${bat.title || model.id} lead=${lead} foot=${[model.id, bat.licence].filter(Boolean).join(" · ")} />`;
  })}</div></fieldset>`;
}

function Words({ kind, choice, change, resolved }) {
  const word = choice.trigger.trim();
  const cleaned = (text) => text.replace(/[^A-Za-z0-9-]+/g, "-").slice(0, 18);
  return html`<div class="two">
    ${kind === "images" && html`<div><label for="word">${W.word}</label><input id="word" maxlength="40" value=${choice.trigger} placeholder=${resolved?.trigger ? W.wordFor(resolved.trigger) : ""} onInput=${(event) => change({ trigger: event.target.value })} aria-describedby="word-hint" /><p class="hint" id="word-hint">${word ? W.wordUse(word) : W.wordHint}</p></div>`}
    <div><label for="name">${W.name}</label><input id="name" value=${choice.name} placeholder=${W.nameFor[kind]} onInput=${(event) => change({ name: cleaned(event.target.value) })} aria-describedby="name-hint" /><p class="hint" id="name-hint">${W.nameHint}</p></div></div>`;
}

function Items({ upload, drafts, add, startOver, others }) {
  const [all, setAll] = useState(false);
  const { items, kind, file } = upload;
  const shown = all ? items : items.slice(0, FIRST_ITEMS);
  const named = new Set(items.flatMap((item) => remarksOf(item).map((finding) => finding.message)));
  const whole = file.bat.findings.filter((finding) => !named.has(finding.message) && finding.code !== EMPTY && (finding.severity !== "info" || LEFT_OUT.includes(finding.code)));
  const remarks = items.reduce((sum, item) => sum + remarksOf(item).length + wordless(item, drafts), whole.length);
  const Card = kind === "images" ? PictureCard : TextCard;
  return html`<section aria-labelledby="files"><div class="row spread"><h2 id="files">${W.number(file.bat.items, kind)} <small>${remarks ? W.remarks(remarks) : W.fine}</small></h2>
      <span class="row"><${Choose} add=${add} label=${W.more} quiet /><button type="button" class="quiet" onClick=${startOver}>${W.startOver}</button></span></div>
    ${others > 0 && html`<p class="hint">${W.others(others)}</p>`}${whole.map((finding) => html`<${Remark} key=${finding.code} of=${finding} />`)}
    <ul class=${`items ${kind}`}>${shown.map((item) => html`<${Card} key=${item.key} item=${item} upload=${upload} drafts=${drafts} alone=${items.length === 1} />`)}</ul>
    ${shown.length < items.length && html`<button type="button" class="quiet" onClick=${() => setAll(true)}>${W.earlier(items.length)}</button>`}
    ${kind === "texts" && html`<${Write} add=${add} />`}</section>`;
}

/** The choices that are in force: what was picked, as far as it is there and fits. */
function inForce(offers, kind, choice, estimate) {
  const fitting = (offers?.models || []).filter((model) => !kind || model.bat.learns_from === kind);
  const known = (preset) => (preset.id in PRESETS ? Object.keys(PRESETS).indexOf(preset.id) : Infinity);
  const presets = (offers?.presets || []).filter((preset) => preset.kind === kind && (!preset.advanced || preset.id === choice.preset)).sort((a, b) => known(a) - known(b) || 0);
  const model = fitting.find((one) => one.id === choice.model) || fitting[0] || null;
  const preset = presets.find((one) => one.id === choice.preset)?.id || estimate?.resolved?.preset || null;
  return { fitting, presets, model, preset };
}

export function Make() {
  const [choice, change, drafts] = useDraft();
  const upload = useUpload(() => kept.read()?.file, (file) => change({ file }));
  const [offers, offersError] = useOffers();
  const [going, setGoing] = useState(false);
  const [error, setError] = useState(null);
  const { file, kind, sent } = upload;
  const { fitting, presets, model } = inForce(offers, kind, choice);
  const body = useMemo(() => file && model && bodyOf({ ...choice, preset: presets.some((one) => one.id === choice.preset) ? choice.preset : null }, file, model), [choice, file, model]);
  const { estimate, error: estimateError } = useEstimate(sent === null ? body : null, file?.bat.sha256);
  const preset = inForce(offers, kind, choice, estimate).preset;
  const add = (files, taken) => {
    setError(null);
    if (!file) change({ own: true });
    return upload.add(files, taken);
  };
  const over = useDropped(add);
  const startOver = () => {
    if (!confirm(W.startOverAsk)) return;
    change({ ...NOTHING, file: file.id });
    upload.forget(choice.own);
  };
  const submit = async () => {
    if (unadded()) return setError({ code: "text_not_added" });
    setGoing(true);
    setError(null);
    // a field that is left by pressing the button is still on its way, and a job keeps its files as they are
    if (!((await upload.settle(drafts.all)) && (await settleEdits(upload)))) return setGoing(false);
    try {
      const job = await call(JOBS, { method: "POST", body });
      kept.forget();
      go(`/adapters/${job.id}`);
    } catch (failure) {
      setGoing(false);
      refused(setError)(failure);
    }
  };
  useEffect(() => {
    if (upload.error?.error.status === 401) refused(() => {})(upload.error.error);
  }, [upload.error]);
  const others = (choice.bat.training_files || []).length + (choice.validation ? 1 : 0); // of a job that is asked for again
  const unsaved = upload.error?.place === "go" ? upload.error.error : null;
  const failure = error || unsaved || estimateError || null;
  const aboutSetting = failure?.param?.startsWith("bat.") && !["bat.preset", "bat.trigger"].includes(failure.param);
  return html`<div class="make"><div class="form"><h1>${W.title}</h1>${!file && html`<p class="voice">${W.lead}</p>`}
    ${offersError && html`<${Refusal} error=${offersError} />`}
    ${offers && offers.models.length === 0 && html`<p class="note bad" role="alert">${W.noModel}</p>`}
    ${file && offers && offers.models.length > 0 && !fitting.length && html`<p class="note bad" role="alert">${W.noModelOf[kind]}</p>`}
    ${sent !== null && !file ? html`<${Sending} share=${sent} />` : file ? html`<${Items} upload=${upload} drafts=${drafts} add=${add} startOver=${startOver} others=${others} />` : html`<${Drop} over=${over} add=${add} />`}
    ${sent !== null && file && html`<${Sending} share=${sent} />`}
    ${["add", "page"].includes(upload.error?.place) && html`<div class="row"><${Refusal} error=${upload.error.error} />${upload.error.again && passing(upload.error.error) && html`<button type="button" class="button small" onClick=${upload.error.again}>${W.sendAgain}</button>`}</div>`}
    ${!file && sent === null && html`<${Example} />`}
    ${file && model && html`<${Presets} of=${presets} chosen=${preset} pick=${(id) => change({ preset: id })} /><${Models} of=${fitting} chosen=${model} pick=${(id) => change({ model: id })} />
      <${Words} kind=${kind} choice=${choice} change=${change} resolved=${estimate?.resolved} />
      <${Advanced} bat=${choice.bat} change=${(bat) => change({ bat })} resolved=${estimate?.resolved} error=${aboutSetting ? failure : null} />`}</div>
    <aside aria-labelledby="before"><h2 id="before">${W.estimate.title}</h2>
      ${estimate ? html`<${About} of=${estimate} />` : html`<p class="figure hint">${body ? W.computing : W.tooSmallSet}</p>`}
      ${!aboutSetting && html`<${Refusal} error=${failure} />`}
      <button type="button" class="button large" disabled=${!body || going || sent !== null} onClick=${submit}>${going ? W.going : W.go}</button>
      ${estimate && html`<${Estimate} of=${estimate} /><${Worth} findings=${ofJob(estimate, upload)} />`}</aside></div>`;
}

/** Whether a refusal is about the moment and not about what was sent. */
const passing = (error) => error.status === 0 || error.status === 429 || error.status >= 500;

/** Findings that are about the job and stand at no file. */
function ofJob(estimate, upload) {
  const told = new Set([...upload.items.flatMap((item) => item.findings), ...(upload.file?.bat.findings || [])].map((finding) => finding.message));
  return (estimate.findings || []).filter((finding) => !told.has(finding.message) && finding.severity !== "info");
}
