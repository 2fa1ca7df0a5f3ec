// The frame: which screen an address shows, signing in, and what is said when the service is away.
import { html, render, useEffect, useRef, useState } from "./lib/html.js";
import { call, tellReach, watchReach } from "./lib/api.js";
import { draft, forgetAll, isStart, key, takeStartToken } from "./lib/session.js";
import { Link, useAddress } from "./parts/link.js";
import { GENERAL as W } from "./words/general.js";
import { SignIn } from "./screens/sign_in.js";
import { List } from "./screens/list.js";

// screens that are not the first one seen come when they are asked for
const LATER = {
  make: () => import("./screens/make.js").then((part) => part.Make),
  adapter: () => import("./screens/adapter.js").then((part) => part.Adapter),
  settings: () => import("./screens/settings.js").then((part) => part.Settings),
};

const AGAIN = 3_000; // milliseconds until a screen that did not come is asked for again

const MINUTE = 60_000;
const reloaded = draft("reloaded");

/** Whether a part did not come because it belongs to a newer version than what is loaded here: asked once a minute. */
function newer() {
  const lately = Date.now() - (reloaded.read() || 0) < MINUTE;
  reloaded.write(Date.now());
  return !lately;
}

export function screenOf(path) {
  if (path === "/") return { name: "list" };
  if (path === "/new") return { name: "make" };
  if (path === "/settings") return { name: "settings" };
  const [, id, tab] = /^\/adapters\/([\w-]+)(?:\/(training))?$/.exec(path) || [];
  return id ? { name: "adapter", id, tab: tab || "result" } : { name: "nowhere" };
}

function Later({ name, ...rest }) {
  const [part, setPart] = useState(null);
  useEffect(() => {
    let gone = false;
    setPart(null);
    let timer;
    const load = () =>
      LATER[name]().then(
        (found) => gone || setPart(() => found),
        async () => {
          const there = await call("/v1/capabilities").catch(() => null);
          if (gone) return;
          if (there && newer()) return location.reload();
          tellReach(false);
          timer = setTimeout(load, AGAIN);
        },
      );
    load();
    return () => {
      gone = true;
      clearTimeout(timer);
    };
  }, [name]);
  return part && html`<${part} ...${rest} />`;
}

function Nowhere() {
  return html`<section class="quiet-page"><h1>${W.notFound.title}</h1><p class="voice">${W.notFound.lead}</p><${Link} to="/" class="button">${W.nav.list}<//></section>`;
}

function Away() {
  const [away, setAway] = useState(false);
  useEffect(() => watchReach((reached) => setAway(!reached)), []);
  return away && html`<p class="away" role="status">${W.away}</p>`;
}

function Header({ signedIn, path }) {
  const here = (name) => (path === name ? "page" : undefined);
  return html`<header class="top"><a class="skip" href="#content">${W.skip}</a>
    <div class="bounds"><${Link} to="/" class="brand"><svg viewBox="0 6 32 18" aria-hidden="true"><path d="M1.5 13.2C8 9.4 13 11 16 16.4 19 11 24 9.4 30.5 13.2 23.8 12.6 19.4 15 16 21.6 12.6 15 8.2 12.6 1.5 13.2z" /></svg>${W.product}<//>
    ${signedIn &&
    html`<nav aria-label=${W.nav.main}><${Link} to="/" aria-current=${here("/")}>${W.nav.list}<//><${Link} to="/settings" aria-current=${here("/settings")}>${W.nav.settings}<//>
      <${Link} to="/new" class="button" aria-current=${here("/new")}>${W.nav.make}<//></nav>`}</div></header>`;
}

/** Swap a start link's token for a key, once. */
function useStart(token, done) {
  const [state, setState] = useState(token ? "starting" : null);
  useEffect(() => {
    if (!token) return;
    call("/start", { method: "POST", body: { token } }).then(
      (answer) => {
        key.write(answer.key);
        setState(null);
        done();
      },
      (error) => setState(error),
    );
  }, []);
  return state;
}

function Page({ token }) {
  const path = useAddress();
  const content = useRef(null);
  const first = useRef(true);
  const [signed, setSigned] = useState(key.read() !== null);
  const [ended, setEnded] = useState(false);
  const start = useStart(token, () => setSigned(true));
  const screen = screenOf(path);
  useEffect(() => {
    const forget = () => {
      key.forget();
      setEnded(true);
      setSigned(false);
    };
    addEventListener("albatross:signed-out", forget);
    return () => removeEventListener("albatross:signed-out", forget);
  }, []);
  useEffect(() => {
    if (!first.current) content.current?.focus({ preventScroll: true });
    first.current = false;
    if (screen.name !== "adapter") document.title = W.product;
  }, [path]);
  const enter = () => {
    setEnded(false);
    setSigned(true);
  };
  const shown = {
    list: () => html`<${List} />`,
    make: () => html`<${Later} name="make" />`,
    adapter: () => html`<${Later} name="adapter" key=${screen.id} id=${screen.id} tab=${screen.tab} />`,
    settings: () => html`<${Later} name="settings" leave=${() => (forgetAll(), setSigned(false))} />`,
    nowhere: () => html`<${Nowhere} />`,
  }[screen.name];
  return html`<${Header} signedIn=${signed} path=${path} /><${Away} />
    <main id="content" class="bounds" tabindex="-1" ref=${content}>
      ${start === "starting" ? html`<p class="voice">${W.signIn.starting}</p>` : !signed ? html`<${SignIn} enter=${enter} ended=${ended} refused=${start} />` : shown()}</main>`;
}

// a start link that is opened where the page is already: the browser changes what follows #, and loads nothing
addEventListener("hashchange", () => isStart(location.hash) && location.reload());
render(html`<${Page} token=${takeStartToken()} />`, document.getElementById("page"));
