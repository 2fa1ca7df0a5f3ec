// Small words that stand where something is: a status, a remark, a refusal, a copied line.
import { html, useRef, useState } from "../lib/html.js";
import { GENERAL, say } from "../words/general.js";
import { RESULT } from "../words/result.js";

export const Status = ({ job }) => html`<span class="status ${job.status}">${GENERAL.status[job.status] || job.status}</span>`;

export const titleOf = (job) => job.bat.name || job.user_provided_suffix || GENERAL.untitled(job.id);

/** What the service refused, said where it arose. */
export const Refusal = ({ error }) => error && html`<p class="note bad" role="alert">${say(error)}</p>`;

/** One of the service's findings. */
export const Remark = ({ of, children }) => html`<p class="note">${of.message}${of.fix ? ` ${of.fix}` : ""}${children}</p>`;

export function Exact({ title, children }) {
  return html`<details class="folded"><summary>${title}</summary><div>${children}</div></details>`;
}

/** Copy what `box` shows; without TLS, from another machine, a browser gives no clipboard, and copies what is selected. */
async function copied(box) {
  if (navigator.clipboard) return navigator.clipboard.writeText(box.textContent).then(() => true, () => false);
  getSelection().selectAllChildren(box);
  return document.execCommand("copy");
}

export function Copied({ text }) {
  const box = useRef(null);
  const [done, setDone] = useState(false);
  const copy = async () => {
    if (!(await copied(box.current))) return;
    setDone(true);
    setTimeout(() => setDone(false), 2000);
  };
  return html`<div class="code"><pre tabindex="0" ref=${box}>${text}</pre><button type="button" class="quiet" onClick=${copy}>${done ? RESULT.copied : RESULT.copy}</button></div>`;
}

/** An expired or withdrawn key shows the sign-in, without losing the screen's draft; the rest goes to `show`. */
export function refused(show) {
  return (error) => {
    if (error.status === 401) dispatchEvent(new Event("albatross:signed-out"));
    else show(error);
  };
}
