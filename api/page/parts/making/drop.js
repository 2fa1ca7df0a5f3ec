// Where files come in: dropped, chosen, pasted or written.
import { html, useEffect, useRef, useState } from "../../lib/html.js";
import { draft } from "../../lib/session.js";
import { dropped, listed, pasted, written } from "../../lib/upload.js";
import { percent } from "../../lib/format.js";
import { MAKING as W } from "../../words/making.js";

export function Choose({ add, label, quiet, folder }) {
  const input = useRef(null);
  const chosen = (event) => {
    const files = listed(event.target.files);
    event.target.value = "";
    if (files.length) add(files);
  };
  return html`<input ref=${input} type="file" multiple=${!folder} webkitdirectory=${folder} hidden tabindex="-1" aria-hidden="true" onChange=${chosen} />
    <button type="button" class=${quiet ? "quiet" : "link"} onClick=${() => input.current.click()}>${label}</button>`;
}

/** Take what is dropped anywhere on the page, or pasted outside of a field; returns whether something hangs over it. */
export function useDropped(add) {
  const [over, setOver] = useState(false);
  const taker = useRef(add);
  taker.current = add;
  useEffect(() => {
    const stop = new AbortController();
    const on = (name, heard) => addEventListener(name, heard, { signal: stop.signal });
    let depth = 0;
    const files = (event) => event.dataTransfer?.types.includes("Files");
    on("dragenter", (event) => files(event) && setOver((depth += 1) > 0));
    on("dragleave", (event) => files(event) && setOver((depth -= 1) > 0));
    on("dragover", (event) => files(event) && event.preventDefault());
    on("drop", async (event) => {
      if (!files(event)) return;
      event.preventDefault();
      setOver((depth = 0) > 0);
      const found = await dropped(event.dataTransfer);
      if (found.length) taker.current(found);
    });
    on("paste", (event) => {
      if (event.target.closest?.("input, textarea")) return;
      const found = pasted(event.clipboardData);
      if (found.length) taker.current(found);
    });
    return () => stop.abort();
  }, []);
  return over;
}

export function Drop({ over, add }) {
  return html`<div class=${over ? "drop over" : "drop"}><p class="voice">${W.drop}</p>
    <p>${W.or} <${Choose} add=${add} label=${W.choose} />, ${W.folder.split(" ")[0]} <${Choose} add=${add} label=${W.folder.split(" ").slice(1).join(" ")} folder /></p>
    <p class="hint">${W.takes}</p></div><${Write} add=${add} />`;
}

const kept = draft("written");
const NOTHING = { question: "", answer: "" };

/** Whether something was written that is not among the files yet. */
export const unadded = () => Boolean(kept.read()?.answer.trim());

/** A text typed here, with the question that it answers. */
export function Write({ add }) {
  const [typed, setTyped] = useState(() => kept.read() || NOTHING);
  const { question, answer } = typed;
  const type = (part) => {
    const next = { ...typed, ...part };
    kept.write(next);
    setTyped(next);
  };
  const submit = async (event) => {
    event.preventDefault();
    // forgotten before the files are shown, beside which this form stands anew
    if (await add([written(question.trim(), answer.trim())], kept.forget)) setTyped(NOTHING);
  };
  return html`<details class="folded write" open=${Boolean(question || answer)}><summary>${W.write}</summary><form onSubmit=${submit}>
    <label for="question">${W.writeQuestion}</label><textarea id="question" rows="2" maxlength="80000" value=${question} onInput=${(event) => type({ question: event.target.value })}></textarea>
    <label for="answer">${W.writeAnswer}</label><textarea id="answer" rows="5" maxlength="80000" required value=${answer} onInput=${(event) => type({ answer: event.target.value })} aria-describedby="write-hint"></textarea>
    <p class="hint" id="write-hint">${W.writeLead}</p><button class="button small" disabled=${!answer.trim()}>${W.writeAdd}</button></form></details>`;
}

export function Sending({ share }) {
  return html`<div class="drop" role="status"><p class="voice">${share < 1 ? W.sending(Math.round(100 * share)) : W.reading}</p>
    <progress max="1" value=${share < 1 ? share : undefined} aria-label=${share < 1 ? percent(share) : W.reading}></progress></div>`;
}
