// A real example from the demo's own run: what was given, and what the model drew before and after.
import { html } from "../lib/html.js";
import { MAKING } from "../words/making.js";

const W = MAKING.example;

export const Example = () => html`<figure class="example"><figcaption>${W.title}</figcaption>
  <div><span>${[1, 2, 3].map((number) => html`<img key=${number} src=${`/page/example/given-${number}.webp`} alt="" width="72" height="72" />`)}</span><small>${W.given}</small></div>
  <div><span><img class="pixels" src="/page/example/before.png" alt="" width="72" height="72" /></span><small>${W.before}</small></div>
  <div><span><img class="pixels" src="/page/example/after.png" alt="" width="72" height="72" /></span><small>${W.after}</small></div></figure>`;
