// The user's own files, judged by what the others teach about each.
import { html } from "../../lib/html.js";
import { percent, width } from "../../lib/format.js";
import { OWN as W } from "../../words/working.js";

const DOUBTED = ["hurts", "duplicate", "doubtful"];

/** The item of the upload that a reference was. */
export const itemOf = (reference, items) => items?.find((item) => (item.filename || `text ${item.index + 1}`) === reference.name);

/** References that had better be left out: what hurts or may, and of two alike the later one. */
export function misfits(references) {
  const hurts = references.filter((reference) => reference.verdict === "hurts");
  const doubtful = references.filter((reference) => reference.verdict === "doubtful" && !reference.twins?.length); // a twin is told of as such
  const twice = references.filter((reference) => reference.verdict === "duplicate");
  return { hurts, doubtful, twice };
}

export function Own({ references, items, changed }) {
  const most = Math.max(0.01, ...references.map((reference) => Math.abs(reference.learnt || 0)));
  const rank = (reference) => (DOUBTED.includes(reference.verdict) ? DOUBTED.indexOf(reference.verdict) : DOUBTED.length);
  const sorted = [...references].sort((a, b) => rank(a) - rank(b));
  const twins = (reference) => (reference.twins || []).join(", ");
  return html`<section aria-labelledby="own"><h2 id="own">${W.title}</h2><p class="hint">${W.lead}${changed ? ` ${W.changed}` : ""}</p><ul class="own">${sorted.map((reference) => {
    const item = itemOf(reference, items);
    return html`<li key=${reference.name} class=${reference.verdict}>${item?.thumbnail ? html`<img src=${item.thumbnail} class=${item.width <= 64 ? "pixels" : ""} alt="" width="56" height="56" />` : ""}
      <div><p><b class="file">${reference.name}</b> <span class="chip">${W.verdicts[reference.verdict]}</span></p>${item?.kind === "text" && html`<p class="said">${item.text}</p>`}
      <div class="learnt" aria-hidden="true"><i style=${{ width: width((reference.learnt || 0) / most) }}></i></div><p class="hint">${W.why[reference.verdict]?.(percent(Math.abs(reference.learnt || 0)), twins(reference))}</p></div></li>`;
  })}</ul></section>`;
}
