// The backbone's own data: what was found in it, what was used, and whether that helped.
import { html } from "../../lib/html.js";
import { Exact } from "../notes.js";
import { INFLUENCE as W } from "../../words/working.js";

const SHOWN = 16;
const HALF = 150; // of the ruler, in its own units

function Candidate({ row }) {
  const words = row.caption || row.text || row.id;
  return html`<li>${row.thumbnail ? html`<img class="pixels" src=${row.thumbnail} alt="" width="80" height="80" />` : ""}<span class=${row.thumbnail ? "" : "said"}>${words}</span></li>`;
}

/** The trial's gain with its interval, on a line whose middle is no difference. */
function Ruler({ trial }) {
  if (!trial?.interval) return null;
  const [low, high] = trial.interval;
  const most = 1.2 * Math.max(Math.abs(low), Math.abs(high), 0.01);
  const at = (gain) => HALF + (HALF * gain) / most;
  const change = (gain) => `${gain > 0 ? "−" : "+"}${(100 * Math.abs(gain)).toFixed(1)} %`;
  return html`<svg class="ruler" viewBox="0 0 300 36" role="img" aria-label=${W.rulerLabel(change(trial.gain), change(high), change(low))}><path d="M0 12H300M150 5V19" class="axis" /><path d=${`M${at(low)} 12H${at(high)}`} class="range" /><circle cx=${at(trial.gain)} cy="12" r="5" />
    <text x="0" y="33">${W.ruler[0]}</text><text x="150" y="33" text-anchor="middle">${W.ruler[1]}</text><text x="300" y="33" text-anchor="end">${W.ruler[2]}</text></svg>`;
}

/** Every n-th of many, so that few stand for all. */
const spread = (rows, most) => rows.filter((_, index) => index % Math.ceil(rows.length / most) === 0);

export function Influence({ influence, bat }) {
  const shown = (row) => row.thumbnail || row.caption || row.text;
  const chosen = influence.helped.filter((row) => row.selected && shown(row));
  const hurt = influence.hurt.filter((row) => !row.selected && row.score < 0 && shown(row)).slice(0, SHOWN / 2);
  const ranked = influence.selection === "ranked";
  const list = (rows) => html`<ul class="gallery">${rows.map((row) => html`<${Candidate} key=${row.id} row=${row} />`)}</ul>`;
  return html`<section aria-labelledby="influence"><h2 id="influence">${W.title}</h2><p class="hint">${W.lead}</p>
    ${bat.verdict && html`<div class="verdict"><p class="voice">${bat.selected ? `${W.used(bat.selected, bat.pool_size || bat.selected)} ` : ""}${W.verdicts[bat.verdict] || ""}</p><${Ruler} trial=${bat.trial} />${bat.reasons?.backbone_data && html`<${Exact} title=${W.exact}>${bat.reasons.backbone_data}<//>`}</div>`}
    ${ranked && chosen.length > 0 && html`<div class="two"><div><h3>${W.helped}</h3>${list(chosen.slice(0, SHOWN / 2))}</div>${hurt.length > 0 && html`<div><h3>${W.hurt}</h3>${list(hurt)}</div>`}</div>`}
    ${!ranked && chosen.length > 0 && html`<h3>${W.drawn}</h3>${list(spread(chosen, SHOWN))}`}
    ${influence.selection === "random" && html`<p class="hint">${W.random}</p>`}
    ${chosen.length === 0 && !bat.selected && html`<p class="hint">${W.none}</p>`}</section>`;
}
