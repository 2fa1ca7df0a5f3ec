// A form made of the API's own schema of `bat`: what the service can do, the page can ask for.
import { html, useState } from "../../lib/html.js";
import { call } from "../../lib/api.js";
import { Refusal } from "../notes.js";
import { MAKING as W } from "../../words/making.js";

const ELSEWHERE = ["training_files", "preset", "trigger"]; // which have a place of their own
const WORDY = { integer: "number", number: "number" };

/** What a field takes: the choices of its schema, a number with its bounds, lines, or words. */
export function kindOf(schema) {
  const kinds = (schema.anyOf || [schema]).filter((kind) => kind.type !== "null");
  const number = kinds.find((kind) => WORDY[kind.type]);
  const lines = kinds.find((kind) => kind.type === "array");
  const choices = kinds.flatMap((kind) => kind.enum || ("const" in kind ? [kind.const] : kind.type === "boolean" ? [true, false] : []));
  if (lines) return { type: "lines" };
  const words = choices.filter((choice) => choice !== "auto");
  if (number) return { type: "number", number, choices: words };
  if (choices.length) return { type: "choice", choices: words };
  return { type: "words" };
}

/** A number as it is typed: on the way to 0.05 stands 0.0, which is the number 0 and must stay what it is. */
function Figure({ value, put, words, id, ...rest }) {
  const [typed, setTyped] = useState("");
  const meant = (text) => (text === "" ? undefined : Number.isNaN(Number(text)) ? text : Number(text)); // some take a word, too
  const type = (event) => {
    setTyped(event.target.value);
    put(meant(event.target.value));
  };
  const shown = typed !== "" && meant(typed) === value ? typed : String(value ?? "");
  if (!words.length) return html`<input ...${rest} id=${id} type="number" step="any" value=${shown} onInput=${type} />`;
  return html`<input ...${rest} id=${id} list=${`${id}-words`} value=${shown} onInput=${type} /><datalist id=${`${id}-words`}>${words.map((word) => html`<option key=${word} value=${word} />`)}</datalist>`;
}

function Field({ name, schema, value, put, auto, wrong }) {
  const id = `set-${name}`;
  const kind = kindOf(schema);
  const hint = html`<p class="hint" id=${`${id}-hint`}>${schema.description || ""}</p>`;
  const common = { id, "aria-describedby": `${id}-hint` };
  const field = {
    lines: () => html`<textarea ...${common} rows="3" value=${(value || []).join("\n")} onInput=${(event) => put(event.target.value.split("\n").filter((line) => line.trim()))}></textarea>`,
    number: () => html`<${Figure} ...${common} min=${kind.number.minimum} max=${kind.number.maximum} words=${kind.choices} value=${value} placeholder=${auto} put=${put} />`,
    choice: () => html`<select ...${common} value=${value === undefined ? "" : String(value)} onChange=${(event) => put(kind.choices.find((choice) => String(choice) === event.target.value))}>
      <option value="">${auto}</option>${kind.choices.map((choice) => html`<option key=${choice} value=${String(choice)}>${String(choice)}</option>`)}</select>`,
    words: () => html`<input ...${common} value=${value ?? ""} placeholder=${auto} onInput=${(event) => put(event.target.value || undefined)} />`,
  }[kind.type]();
  return html`<div class="setting"><label for=${id}>${name.replaceAll("_", " ")}</label>${field}${hint}<${Refusal} error=${wrong} /></div>`;
}

export function Advanced({ bat, change, resolved, error }) {
  const [schema, setSchema] = useState(null);
  const [find, setFind] = useState("");
  const open = (event) => event.target.open && !schema && call("/openapi.json").then((document) => setSchema(document.components.schemas.BatRequest.properties), () => {});
  const put = (name) => (value) => {
    const { [name]: _, ...rest } = bat;
    change(value === undefined || value?.length === 0 ? rest : { ...rest, [name]: value });
  };
  const names = Object.keys(schema || {}).filter((name) => !ELSEWHERE.includes(name) && `${name} ${schema[name].description || ""}`.replaceAll("_", " ").includes(find.toLowerCase()));
  const shown = (name) => (resolved && typeof resolved[name] !== "object" ? resolved[name] : undefined);
  return html`<details class="folded advanced" onToggle=${open}><summary>${W.settings}</summary><p class="hint">${W.settingsLead}</p>
    <label for="find-setting" class="meta">${W.settingsFind}</label><input id="find-setting" type="search" value=${find} onInput=${(event) => setFind(event.target.value)} />
    <div class="settings">${names.map((name) => html`<${Field} key=${name} name=${name} schema=${schema[name]} value=${bat[name]} put=${put(name)} auto=${W.auto(shown(name))} wrong=${error?.param?.split(".")[1] === name ? error : null} />`)}</div></details>`;
}
