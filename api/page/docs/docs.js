// The API's document, /openapi.json, as a person reads it: every call, what it takes, what it answers.
import { html, render, useEffect, useState } from "../lib/html.js";
import { Types, words } from "./types.js";

const CHANGING = ["POST", "PUT", "PATCH", "DELETE"];
const INTRODUCTION = `from openai import OpenAI

client = OpenAI(base_url="${location.origin}/v1", api_key="alb_...")
print([model.id for model in client.models.list()])`;

/** All calls of the document, in its order. */
function callsOf(document) {
  return Object.entries(document.paths).flatMap(([path, methods]) => Object.entries(methods).map(([method, call]) => ({ ...call, path, method: method.toUpperCase() })));
}

function groupsOf(calls) {
  const groups = new Map();
  for (const call of calls) {
    const tag = call.tags?.[0] || "other";
    groups.set(tag, [...(groups.get(tag) || []), call]);
  }
  return [...groups];
}

const Method = ({ name }) => html`<span class=${`method ${CHANGING.includes(name) ? "changes" : ""}`}>${name}</span>`;

function Fields({ caption, rows }) {
  if (!rows.length) return null;
  return html`<h3>${caption}</h3><div class="scroll" tabindex="0" role="region" aria-label=${caption}><table class="fields"><tbody>
    ${rows.map(({ name, needed, schema, said }) => html`<tr key=${name}><th scope="row"><code>${name}</code>${needed && html` <span class="meta">needed</span>`}</th><td><${Types} schema=${schema} /></td><td>${words(said)}</td></tr>`)}
  </tbody></table></div>`;
}

/** The rows of an object's properties. */
function rowsOf(schema) {
  return Object.entries(schema.properties || {}).map(([name, inner]) => ({ name, schema: inner, needed: schema.required?.includes(name), said: inner.description }));
}

function Body({ caption, content }) {
  const [kind, { schema = {} } = {}] = Object.entries(content || {})[0] || [];
  if (!kind) return null;
  if (schema.properties) return html`<${Fields} caption=${`${caption}: ${kind}`} rows=${rowsOf(schema)} />`;
  return html`<h3>${caption}: ${kind}</h3><p><${Types} schema=${schema} /></p>`;
}

function Call({ call }) {
  const given = (call.parameters || []).map(({ name, in: place, required, schema, description }) => ({ name, needed: required, schema, said: [place === "query" ? "" : `in the ${place}`, description || schema.description].filter(Boolean).join(": ") }));
  return html`<section aria-labelledby=${call.operationId}>
    <h2 id=${call.operationId}><${Method} name=${call.method} /> <code>${call.path}</code></h2>
    <p class="voice">${words(call.description || call.summary)}</p>
    ${!call.security && html`<p class="hint">Needs no key.</p>`}
    <${Fields} caption="Takes" rows=${given} />
    <${Body} caption="Body" content=${call.requestBody?.content} />
    <${Body} caption="Answers" content=${call.responses["200"]?.content} />
  </section>`;
}

function Shape({ name, schema }) {
  return html`<section aria-labelledby=${`object-${name}`}>
    <h2 id=${`object-${name}`}><code>${name}</code></h2>
    ${schema.description && html`<p class="voice">${words(schema.description)}</p>`}
    ${schema.properties ? html`<${Fields} caption=${`Fields of ${name}`} rows=${rowsOf(schema)} />` : html`<p><${Types} schema=${schema} /></p>`}
  </section>`;
}

function Contents({ groups, objects }) {
  const [find, setFind] = useState("");
  const fits = (words) => words.toLowerCase().includes(find.trim().toLowerCase());
  const shown = groups.map(([tag, calls]) => [tag, calls.filter((call) => fits(`${call.method} ${call.path} ${call.description || ""}`))]).filter(([, calls]) => calls.length);
  const named = objects.filter(fits);
  return html`<nav class="contents" aria-label="What there is">
    <label for="find">Find</label><input id="find" type="search" value=${find} onInput=${(event) => setFind(event.target.value)} />
    ${shown.map(([tag, calls]) => html`<h2 key=${tag}>${tag}</h2><ul>${calls.map((call) => html`<li key=${call.operationId}><a href=${`#${call.operationId}`}><${Method} name=${call.method} /><code>${call.path}</code></a></li>`)}</ul>`)}
    ${named.length > 0 && html`<h2>objects</h2><ul>${named.map((name) => html`<li key=${name}><a href=${`#object-${name}`}><code>${name}</code></a></li>`)}</ul>`}
  </nav>`;
}

function Reader() {
  const [found, setFound] = useState(null);
  useEffect(() => {
    // with its typefaces, so that nothing that is being read jumps
    const faces = ["15px Geist", "19px Newsreader"].map((face) => document.fonts.load(face));
    const read = fetch("/openapi.json").then((answer) => answer.json());
    Promise.all([read, Promise.allSettled(faces)]).then(([told]) => setFound(told), () => setFound({ away: true }));
  }, []);
  // the browser looked for the address's place before there was any
  useEffect(() => found?.paths && document.getElementById(decodeURIComponent(location.hash.slice(1)))?.scrollIntoView(), [found]);
  if (!found) return null;
  if (found.away) return html`<main class="bounds"><p class="voice">The service does not answer. Is it running? Load this page again when it is.</p></main>`;
  const calls = callsOf(found);
  const objects = Object.keys(found.components.schemas).sort();
  return html`<header class="top"><div class="bounds"><a class="brand" href="/">Albatross</a><nav><a href="/openapi.json">openapi.json</a></nav></div></header>
    <div class="bounds reader">
      <${Contents} groups=${groupsOf(calls)} objects=${objects} />
      <main>
        <section class="first"><h1>The API</h1><p class="voice">${found.info.description}</p>
          <p class="hint">Version ${found.info.version}. A key is sent as <code>Authorization: Bearer alb_...</code>; <code>albatross keys create NAME</code> makes one. What can't be served is answered with an <a href="#object-Error">Error</a>, whose <code>code</code> is for programs and whose message says what to do.</p>
          <div class="code"><pre tabindex="0">${INTRODUCTION}</pre></div></section>
        ${calls.map((call) => html`<${Call} key=${call.operationId} call=${call} />`)}
        ${objects.map((name) => html`<${Shape} key=${name} name=${name} schema=${found.components.schemas[name]} />`)}
      </main>
    </div>`;
}

render(html`<${Reader} />`, document.getElementById("page"));
