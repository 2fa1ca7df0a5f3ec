// A key opens everything; there is no account to make.
import { html, useState } from "../lib/html.js";
import { call } from "../lib/api.js";
import { key } from "../lib/session.js";
import { Refusal } from "../parts/notes.js";
import { GENERAL } from "../words/general.js";

const W = GENERAL.signIn;
const SENDABLE = /^[\x21-\x7e]+$/; // a header holds nothing else

export function SignIn({ enter, ended, refused }) {
  const [value, setValue] = useState("");
  const [error, setError] = useState(null);
  const [busy, setBusy] = useState(false);
  const notice = ended ? W.ended : refused ? (refused.code === "start_link_used" ? W.usedLink : null) : null;
  const submit = (event) => {
    event.preventDefault();
    if (!SENDABLE.test(value.trim())) return setError({ code: "invalid_api_key" });
    key.write(value.trim());
    setBusy(true);
    call("/v1/account").then(enter, (failure) => {
      key.forget();
      setBusy(false);
      setError(failure.code === "expired_api_key" ? { message: W.expired } : failure);
    });
  };
  return html`<form class="sign-in" onSubmit=${submit}><h1>${W.title}</h1>
    ${notice ? html`<p class="note" role="status">${notice}</p>` : html`<p class="voice">${W.lead}</p>`}
    ${refused && !notice && html`<${Refusal} error=${refused} />`}
    <label for="key">${W.label}</label>
    <input id="key" type="password" autocomplete="off" spellcheck=${false} required value=${value} onInput=${(event) => setValue(event.target.value)} aria-describedby="key-hint" />
    <p class="hint" id="key-hint">${W.hint}</p><${Refusal} error=${error} />
    <button class="button" disabled=${busy || !value.trim()}>${busy ? W.trying : W.go}</button></form>`;
}
