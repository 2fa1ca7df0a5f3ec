// The user's own files, one card each: a picture with its caption, or a text; remarks beside them.
import { html, useEffect, useRef, useState } from "../../lib/html.js";
import { draft } from "../../lib/session.js";
import { Refusal, Remark } from "../notes.js";
import { MAKING as W } from "../../words/making.js";

/** Of remarks that ask for nothing, those that say what is not learned. */
export const LEFT_OUT = ["table_not_read", "set_aside", "masks_left_out", "thumbnails_left_out"];
export const EMPTY = "empty_caption"; // said in the page's own words, at every picture that it is about
const TWINS = ["near_duplicate", "duplicate_item", "exact_duplicate"];

/** What is about many files is said once, above them. */
export const aboutMany = (finding) => (finding.items?.length || 0) > 2;

export const remarksOf = (item) => item.findings.filter((finding) => finding.code !== EMPTY && finding.severity !== "info" && !aboutMany(finding));

/** Whether a picture has no caption, neither stored nor typed. */
export const wordless = (item, drafts) => item.kind === "image" && !(drafts.read(item.filename) ?? item.caption);

/** A file is chosen in place of this one. */
function Replace({ item, upload }) {
  const input = useRef(null);
  const chosen = (event) => {
    const [file] = event.target.files;
    event.target.value = ""; // the same file may be chosen again
    if (file) upload.replace(item, file);
  };
  return html`<input ref=${input} type="file" accept="image/*" hidden tabindex="-1" aria-hidden="true" onChange=${chosen} />
    <button type="button" class="link faint" onClick=${() => input.current.click()}>${W.replace}</button>`;
}

/** A field that is sent when it is left; what is typed lives in the draft until the service has it. */
function Caption({ item, upload, drafts }) {
  const typed = drafts.read(item.filename);
  const value = typed ?? item.caption ?? "";
  const [saved, setSaved] = useState(false);
  const waiting = typed !== undefined && typed !== (item.caption || "");
  const leave = async () => {
    if (!waiting) return drafts.forget(item.filename);
    if (await upload.caption(item, typed.trim() || null)) {
      drafts.forget(item.filename, typed);
      setSaved(true);
    }
  };
  return html`<textarea rows="2" maxlength="2000" placeholder=${W.captionHint} aria-label=${W.caption(item.filename)} value=${value}
      onInput=${(event) => (setSaved(false), drafts.write(item.filename, event.target.value))} onBlur=${leave}></textarea>
    <p class="meta state" role="status">${waiting ? (upload.changing ? W.saving : W.notSaved) : saved ? W.saved : ""}</p>`;
}

export function PictureCard({ item, upload, drafts, alone }) {
  const remarks = remarksOf(item);
  const twin = remarks.some((remark) => TWINS.includes(remark.code));
  const error = upload.error?.place === item.key ? upload.error.error : null;
  return html`<li class="item"><img src=${item.thumbnail} alt="" width="96" height="96" class=${item.width <= 64 ? "pixels" : ""} />
    <div><p class="row"><b class="file">${item.filename}</b><span class="meta num">${W.pixels(item.width).replace(/\d+$/, item.height)}</span></p>
      <${Caption} item=${item} upload=${upload} drafts=${drafts} />
      ${wordless(item, drafts) && html`<p class="note">${W.noCaption}</p>`}
      ${remarks.map((remark) => html`<${Remark} key=${remark.code} of=${remark} />`)}<${Refusal} error=${error} />
      <p class="acts">${!alone && html`<button type="button" class=${twin ? "link warm" : "link faint"} onClick=${() => upload.leaveOut(item)}>${W.leaveOut}</button>`}<${Replace} item=${item} upload=${upload} /></p></div></li>`;
}

/** A text as a conversation, or as it stands. */
export function Turns({ item }) {
  if (!item.messages?.length) return html`<p class="said">${item.text}</p>`;
  return html`<ol class="turns">${item.messages.map((message, number) => html`<li key=${number} class=${message.role}><small>${W.roles[message.role] || message.role}</small><p>${message.content}</p></li>`)}</ol>`;
}

const CALL = /^calls \S/m; // how a call of a function is told in words

/** Whether the text can be written anew from what is shown of it: not cut ones, and not what says more than words. */
const editable = (item) => !item.cut && !(item.messages || []).some((turn) => turn.cut || turn.role === "tool" || (turn.role === "assistant" && (!turn.learned || CALL.test(turn.content))));

const kept = draft("edits"); // texts that are being edited, over a reload, each under its file and item
const editOf = (item, upload) => `${upload.file.id} ${item.key}`;
const edited = (item, upload) => kept.read()?.[editOf(item, upload)] || null;

function keep(edit, turns) {
  const { [edit]: _, ...rest } = kept.read() || {};
  kept.write(turns ? { ...rest, [edit]: turns } : rest);
}

const turnsOf = (item) => (item.messages?.length ? item.messages.map(({ role, content }) => ({ role, content })) : [{ role: null, content: item.text }]);

const contentOf = (turns) => (turns[0].role === null ? { text: turns[0].content } : { messages: turns });

/** Store the texts that are still being edited; says whether all of them could be. */
export async function settleEdits(upload) {
  for (const item of upload.items) {
    const turns = edited(item, upload);
    if (turns && !(await upload.rewrite(item, contentOf(turns)))) return false;
    if (turns) keep(editOf(item, upload), null);
  }
  return true;
}

function EditText({ item, upload, close }) {
  const [turns, setTurns] = useState(() => edited(item, upload) || turnsOf(item));
  const write = (place, content) => {
    const next = turns.map((turn, number) => (number === place ? { ...turn, content } : turn));
    keep(editOf(item, upload), next);
    setTurns(next);
  };
  const submit = async (event) => {
    event.preventDefault();
    if (await upload.rewrite(item, contentOf(turns))) close();
  };
  return html`<form class="edit" onSubmit=${submit}>${turns.map((turn, place) => {
    const id = `${item.id}-${place}`;
    return html`<div key=${place}><label for=${id} class="meta">${turn.role === null ? W.edit : W.roles[turn.role] || turn.role}</label>
      <textarea id=${id} rows=${Math.min(12, 2 + Math.ceil(turn.content.length / 80))} maxlength="80000" value=${turn.content} onInput=${(event) => write(place, event.target.value)}></textarea></div>`;
  })}<p class="acts"><button class="button small" disabled=${upload.changing > 0}>${W.save}</button><button type="button" class="quiet" onClick=${close}>${W.dropEdit}</button></p></form>`;
}

export function TextCard({ item, upload, alone }) {
  const [editing, setEditing] = useState(() => edited(item, upload) !== null);
  const close = () => {
    keep(editOf(item, upload), null);
    setEditing(false);
  };
  const card = useRef(null);
  const error = upload.error?.place === item.key ? upload.error.error : null;
  useEffect(() => {
    if (editing) card.current.querySelector("textarea").focus();
  }, [editing]);
  return html`<li class="item text" ref=${card}><div><p class="meta">${W.textNumber(item.index + 1)}</p>
    ${editing ? html`<${EditText} item=${item} upload=${upload} close=${close} />` : html`<${Turns} item=${item} />${item.cut && html`<p class="meta">${W.cut(item.characters)}</p>`}`}
    ${remarksOf(item).map((remark) => html`<${Remark} key=${remark.code} of=${remark} />`)}<${Refusal} error=${error} />
    ${!editing && html`<p class="acts">${editable(item) && html`<button type="button" class="link faint" onClick=${() => setEditing(true)}>${W.edit}</button>`}${!alone && html`<button type="button" class="link faint" onClick=${() => upload.leaveOut(item)}>${W.leaveOut}</button>`}</p>`}</div></li>`;
}
