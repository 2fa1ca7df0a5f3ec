// All adapters of the account, the newest first; without one, what this is and where to begin.
import { html, useEffect, useRef, useState } from "../lib/html.js";
import { call, JOBS } from "../lib/api.js";
import { moment, percent, duration } from "../lib/format.js";
import { Link } from "../parts/link.js";
import { refused, Refusal, Status, titleOf } from "../parts/notes.js";
import { Example } from "../parts/example.js";
import { GENERAL } from "../words/general.js";
import { WORKING } from "../words/working.js";

const W = GENERAL.list;
const PAGE = 24;
const MOST = 100; // of one answer
const ACTIVE = ["queued", "running", "paused"];
const covers = new Map(); // by file: its first pictures, fetched once

/** The newest as they are now, and of those behind them what was shown: some may be new or erased. */
function joined(page, old) {
  if (!page.has_more) return page.data;
  const known = new Set(page.data.map((job) => job.id));
  return [...page.data, ...old.slice(page.data.length).filter((job) => !known.has(job.id))];
}

/** Few pixels stay pixels. */
const small = ({ target }) => target.naturalWidth <= 64 && target.classList.add("pixels");

function Cover({ file, picture }) {
  const [items, setItems] = useState(covers.get(file) || null);
  useEffect(() => {
    if (items || picture) return;
    call(`/v1/files/${file}/items?limit=4`).then(
      (page) => {
        covers.set(file, page.data);
        setItems(page.data);
      },
      () => setItems([]), // erased: the adapter is there without its references
    );
  }, [file, picture]);
  if (picture) return html`<div class="cover" aria-hidden="true"><img src=${picture} alt="" onLoad=${small} /></div>`;
  const text = items?.find((item) => item.kind === "text");
  return html`<div class="cover" aria-hidden="true">${text ? html`<p>${text.text}</p>` : (items || []).filter((item) => item.thumbnail).map((item) => html`<img src=${item.thumbnail} alt="" class=${item.width <= 64 ? "pixels" : ""} />`)}</div>`;
}

function Card({ job }) {
  const share = job.bat.overall ?? job.bat.progress;
  const running = job.status === "running";
  return html`<li><${Link} to=${`/adapters/${job.id}`} class="card"><${Cover} file=${job.training_file} picture=${job.bat.cover} />
    <div><h2>${titleOf(job)}</h2><p class="meta"><${Status} job=${job} /> ${running ? html`<span class="num">${W.done(percent(share))}${job.bat.eta_seconds ? `, ${WORKING.left(duration(job.bat.eta_seconds))}` : ""}</span>` : html`<time>${moment(job.created_at)}</time>`}</p>
    <p class="meta">${job.model}${job.bat.published_from ? `, ${W.step(job.bat.published_from.step)}` : ""}</p></div><//></li>`;
}

export function List() {
  const [jobs, setJobs] = useState(null);
  const [more, setMore] = useState(false);
  const [error, setError] = useState(null);
  const [busy, setBusy] = useState(false);
  const shown = useRef(PAGE);
  useEffect(() => {
    let gone = false;
    let timer;
    const look = async () => {
      try {
        const page = await call(`${JOBS}?covers=true&limit=${Math.min(MOST, shown.current)}`);
        if (gone) return;
        setJobs((old) => joined(page, old || []));
        if (shown.current <= MOST) setMore(page.has_more);
        setError(null);
        if (page.data.some((job) => ACTIVE.includes(job.status))) timer = setTimeout(look, document.hidden ? 20_000 : 5_000);
      } catch (failure) {
        if (gone) return;
        refused(setError)(failure);
        if (failure.status !== 401) timer = setTimeout(look, 5_000);
      }
    };
    look();
    return () => {
      gone = true;
      clearTimeout(timer);
    };
  }, []);
  const older = () => {
    setBusy(true);
    const asked = call(`${JOBS}?covers=true&limit=${PAGE}&after=${jobs.at(-1).id}`).then((page) => {
      setJobs((old) => [...old, ...page.data.filter((job) => !old.some((known) => known.id === job.id))]);
      setMore(page.has_more);
      shown.current += page.data.length;
    }, refused(setError));
    asked.finally(() => setBusy(false));
  };
  if (jobs === null) return html`<${Refusal} error=${error} />`;
  if (jobs.length === 0)
    return html`<section class="welcome"><h1>${W.empty}</h1><p class="voice">${W.emptyLead}</p><${Link} to="/new" class="button large">${W.first}<//><${Example} /></section>`;
  return html`<h1>${W.title}</h1><${Refusal} error=${error} /><ul class="cards">${jobs.map((job) => html`<${Card} key=${job.id} job=${job} />`)}</ul>
    ${more && html`<button type="button" class="quiet" disabled=${busy} onClick=${older}>${W.older}</button>`}`;
}
