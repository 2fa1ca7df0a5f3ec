// The one place that talks to the service, over its public API. The key is a header, never a part of an address.
import { key } from "./session.js";

export const JOBS = "/v1/fine_tuning/jobs";

/** What the service refused, or that it did not answer at all (`status` 0). */
export class ApiError extends Error {
  constructor(status, body) {
    super(body?.error?.message || "");
    this.status = status;
    this.code = body?.error?.code || (status ? "unknown" : "service_away");
    this.param = body?.error?.param || null;
    this.wait = 0;
  }
}

let reached = true;
const watchers = new Set();

/** Be told whenever the service stops answering, or answers again. */
export function watchReach(watcher) {
  watchers.add(watcher);
  return () => watchers.delete(watcher);
}

export function tellReach(now) {
  if (now === reached) return;
  reached = now;
  for (const watcher of watchers) watcher(now);
}

export const authorization = () => (key.read() ? { authorization: `Bearer ${key.read()}` } : {});

async function answered(path, options) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch (failure) {
    if (failure.name === "AbortError") throw failure;
    tellReach(false);
    throw new ApiError(0, null);
  }
  tellReach(answer.status !== 502);
  if (answer.ok) return answer;
  const error = new ApiError(answer.status, await answer.json().catch(() => null));
  error.wait = Number(answer.headers.get("retry-after")) || 0;
  throw error;
}

const PATIENCE = 10; // seconds that a question waits when the service asks for it
const TRIES = 3;

/** Ask once more, and again, where the service is asked too quickly: a question changes nothing. */
async function patient(path, options, tries = TRIES) {
  try {
    return await answered(path, options);
  } catch (failure) {
    if (failure.status !== 429 || failure.wait > PATIENCE || tries <= 1) throw failure;
    await new Promise((resolve) => setTimeout(resolve, 1000 * (failure.wait || 1)));
    return patient(path, options, tries - 1);
  }
}

/** Call the API with JSON or a form and return its answer. */
export async function call(path, { method = "GET", body, signal } = {}) {
  const form = body instanceof FormData;
  const headers = { ...authorization(), ...(body === undefined || form ? {} : { "content-type": "application/json" }) };
  const sent = body === undefined || form ? body : JSON.stringify(body);
  const answer = await (method === "GET" ? patient : answered)(path, { method, signal, headers, body: sent });
  return answer.json().catch((failure) => Promise.reject(failure.name === "AbortError" ? failure : new ApiError(0, null)));
}

/** Every row of a list, page by page; or those that follow the row `after`. */
export async function every(path, limit, after = "") {
  const rows = [];
  for (;;) {
    const page = await call(`${path}${path.includes("?") ? "&" : "?"}limit=${limit}${after && `&after=${encodeURIComponent(after)}`}`);
    rows.push(...page.data);
    if (!page.has_more || !page.last_id) return rows;
    after = page.last_id;
  }
}

/** Send a form and tell how much of it has left; fetch can't, XMLHttpRequest can. */
export function send(path, form, progress) {
  const request = new XMLHttpRequest();
  const done = new Promise((resolve, reject) => {
    request.open("POST", path);
    for (const [name, value] of Object.entries(authorization())) request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => event.lengthComputable && progress(event.loaded / event.total);
    request.onload = () => {
      let body = null;
      try {
        body = JSON.parse(request.responseText);
      } catch {
        // a proxy's own page of an error
      }
      if (request.status < 300 && body) resolve(body);
      else reject(new ApiError(request.status < 300 ? 0 : request.status, body));
    };
    request.onabort = request.onerror = () => reject(new ApiError(0, null));
    request.send(form);
  });
  return { done, abort: () => request.abort() };
}

/** The bytes behind an address that needs the key. */
export const bytes = async (path) => (await patient(path, { headers: authorization() })).blob();

const LARGE = 300_000_000; // bytes, from which a file goes straight to the disk where the browser can do that

/** Save what lies behind an address under `name`, or as the service calls it; `progress` hears the share of `size`. */
export async function download(path, name, size, progress) {
  // asked for first: a browser lets a page choose a place only while a click is fresh
  const place = size >= LARGE && window.showSaveFilePicker ? await showSaveFilePicker({ suggestedName: name }) : null;
  const answer = await answered(path, { headers: authorization() });
  const said = /filename="([^"]+)"/.exec(answer.headers.get("content-disposition") || "")?.[1];
  let come = 0;
  const counted = new TransformStream({
    transform(chunk, out) {
      progress(Math.min(1, (come += chunk.byteLength) / size));
      out.enqueue(chunk);
    },
  });
  const body = answer.body.pipeThrough(counted);
  try {
    if (place) await body.pipeTo(await place.createWritable());
    else save(await new Response(body).blob(), said || name);
  } catch (failure) {
    if (failure instanceof TypeError) throw new ApiError(0, null); // it broke off on its way
    throw failure;
  }
}

export function save(blob, name) {
  const address = URL.createObjectURL(blob);
  Object.assign(document.createElement("a"), { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}
