// The references of a new adapter: sent as they are dropped, shown item by item, edited in place.
import { useEffect, useRef, useState } from "./html.js";
import { ApiError, call, every, JOBS, send } from "./api.js";
import { zip } from "./zip.js";

const PICTURE = /\.(png|jpe?g|webp|heic|heif|avif|gif|tiff?|bmp)$/i;
const ARCHIVE = /\.zip$/i;
const ITEMS = 100; // a page of them

const itemsOf = async (file) => keyed(await every(`/v1/files/${file}/items`, ITEMS));

/** Give each item a key that stays its own when others go: its id is only its place. */
export function keyed(items) {
  const seen = new Map();
  return items.map((item) => {
    const name = item.filename ?? `${item.characters} ${item.text}`;
    seen.set(name, (seen.get(name) || 0) + 1);
    return { ...item, key: `${name} ${seen.get(name)}` };
  });
}

/** One file goes as it is; several go as one zip, with their folders. */
async function packed(files) {
  if (files.length === 1) return { blob: files[0].blob, name: files[0].name };
  return { blob: await zip(files), name: files.some((file) => PICTURE.test(file.name)) ? "pictures.zip" : "texts.zip" };
}

/** What goes together: an archive alone, for none is read within another, and all else at once. */
function apart(files) {
  const archives = files.filter((file) => ARCHIVE.test(file.name));
  const others = files.filter((file) => !ARCHIVE.test(file.name));
  return [...archives.map((file) => [file]), ...(others.length ? [others] : [])];
}

function formOf({ blob, name }, fields) {
  const form = new FormData();
  for (const [field, value] of Object.entries(fields)) form.append(field, value);
  form.append("file", blob, name);
  return form;
}

/** Whether a job has them all the same: one that another tab has made, or whose answer was lost. */
const learnt = async (file) => (await call(`${JOBS}?limit=100`)).data.some((job) => job.training_file === file);

/** What is gone already, or needed, stays as it is. */
const passedOver = (failure) => [404, 409].includes(failure.status) || Promise.reject(failure);

let underway = null; // files that are being sent, also by a form that was left meanwhile: whether they have come

/** Hold the upload that `recall` names, if any: {file, items, sent, changing, error} and what can be done with it. */
export function useUpload(recall, remember) {
  const [file, setFile] = useState(null);
  const [items, setItems] = useState([]);
  const [sent, setSent] = useState(null); // a share while bytes leave; 1 while the service reads
  const [changing, setChanging] = useState(0);
  const [error, setError] = useState(null); // {place, error}
  const now = useRef({ file: null, items: [], stale: false }); // stale: the items are those of an earlier version
  const line = useRef(Promise.resolve());

  const know = (answer, items, stale) => {
    now.current = { file: answer, items, stale };
    remember(answer?.id || null);
  };
  const hold = (answer, items) => {
    know(answer, items, false);
    setFile(answer);
    setItems(items);
  };
  const list = async () => hold(now.current.file, await itemsOf(now.current.file.id));
  const begin = () => {
    const start = recall();
    setSent(null);
    if (!start) return;
    Promise.all([call(`/v1/files/${start}`), itemsOf(start)]).then(
      ([answer, found]) => hold(answer, found),
      (failure) => (failure.status === 404 ? remember(null) : setError({ place: "page", error: failure })),
    );
  };
  useEffect(() => {
    if (!underway) return begin();
    setSent(1);
    underway.then((come) => (come ? begin() : (setSent(null), setError({ place: "page", error: new ApiError(0, null) }))));
  }, []);
  useEffect(() => {
    if (sent === null) return;
    const ask = (event) => event.preventDefault(); // the browser asks before it leaves what is being sent
    addEventListener("beforeunload", ask);
    return () => removeEventListener("beforeunload", ask);
  }, [sent === null]);

  /** One change after another, each on the version that the one before has left; one that finds nothing to do is null. */
  const inLine = (place, change, again = null) => {
    setChanging((number) => number + 1);
    const done = line.current.then(async () => {
      let changed = false;
      try {
        if (now.current.stale) await list();
        const answer = await change(now.current.file);
        changed = true;
        if (answer) {
          know(answer, now.current.items, true);
          await list();
        }
        setError(null);
      } catch (failure) {
        setFile(now.current.file); // which is there, also where its items could not be listed
        setError({ place, error: failure, again: changed ? null : again });
        if (failure.code === "file_changed") await reload().catch(() => {});
      } finally {
        setSent(null);
        setChanging((number) => number - 1);
      }
      return changed;
    });
    line.current = done;
    return done;
  };
  const reload = async () => {
    know(await call(`/v1/files/${now.current.file.id}`), now.current.items, true);
    await list();
  };
  /** Where an item is by now, which changes before this one may have moved. */
  const found = (item) => now.current.items.find((one) => one.key === item.key);
  const placeOf = (item) => {
    const { id } = found(item) || {};
    if (!id) throw new ApiError(409, { error: { code: "file_changed" } });
    return id;
  };
  const at = (item) => `/v1/files/${now.current.file.id}/items/${placeOf(item)}`;
  const describe = (known, items) => call(`/v1/files/${known.id}/items`, { method: "POST", body: { items, sha256: known.bat.sha256 } });

  const addTogether = (files, taken) =>
    inLine(
      "add",
      async (known) => {
        setSent(0);
        const path = known ? `/v1/files/${known.id}/items` : "/v1/files";
        const answer = await send(path, formOf(await packed(files), known ? { sha256: known.bat.sha256 } : { purpose: "fine-tune" }), setSent).done;
        taken();
        return answer;
      },
      () => add(files, taken),
    );

  /** Send files; `taken` is called as soon as the service has them, before anything is shown of it. */
  const add = (files, taken = () => {}) => {
    const come = apart(files).reduce((before, some) => before.then((so) => so && addTogether(some, taken)), Promise.resolve(true));
    underway = come;
    come.then(() => underway === come && (underway = null));
    return come;
  };

  return {
    file, items, sent, changing, error, setError,
    kind: file?.bat.kind || null,
    add,
    caption: (item, caption) => inLine(item.key, (known) => describe(known, [{ id: placeOf(item), caption }])),
    /** Wait for every change that is on its way, and send the captions, {filename: words}, that no field was left with. */
    settle: (typed) =>
      inLine("go", (known) => {
        const words = (item) => typed()[item.filename];
        const open = now.current.items.filter((item) => words(item) !== undefined && words(item).trim() !== (item.caption || ""));
        return open.length ? describe(known, open.map((item) => ({ id: item.id, caption: words(item).trim() || null }))) : null;
      }),
    leaveOut: (item) => inLine(item.key, (known) => (found(item) ? call(`${at(item)}?sha256=${known.bat.sha256}`, { method: "DELETE" }) : null)),
    replace: (item, blob) => inLine(item.key, (known) => call(at(item), { method: "PUT", body: formOf({ blob, name: blob.name }, { sha256: known.bat.sha256 }) })),
    rewrite: (item, content) => inLine(item.key, (known) => call(at(item), { method: "PUT", body: { ...content, sha256: known.bat.sha256 } })),
    /** Begin again without files; those that only this form knew of are erased, for nothing else leads to them. */
    forget: (erase) =>
      inLine("page", async (known) => {
        hold(null, []);
        if (known && erase && !(await learnt(known.id))) await call(`/v1/files/${known.id}`, { method: "DELETE" }).catch(passedOver);
        return null;
      }),
  };
}

/** All files of a drop, those in folders too, each {name, blob} with its path. */
export async function dropped(transfer) {
  const entries = [...transfer.items].filter((item) => item.kind === "file").map((item) => item.webkitGetAsEntry?.());
  if (entries.length === 0 || entries.some((entry) => !entry)) return listed(transfer.files);
  const found = [];
  for (const entry of entries) await walk(entry, "", found);
  return found;
}

async function walk(entry, folder, found) {
  if (entry.isFile) {
    const blob = await new Promise((resolve, reject) => entry.file(resolve, reject));
    found.push({ name: folder + entry.name, blob });
    return;
  }
  const reader = entry.createReader();
  for (;;) {
    const batch = await new Promise((resolve, reject) => reader.readEntries(resolve, reject)); // a hundred at a time
    if (batch.length === 0) return;
    for (const inner of batch) await walk(inner, `${folder}${entry.name}/`, found);
  }
}

export const listed = (files) => [...files].map((blob) => ({ name: blob.webkitRelativePath || blob.name, blob }));

/** What was pasted: pictures as files, words as a text. */
export function pasted(transfer) {
  const files = listed(transfer.files);
  const words = transfer.getData("text/plain").trim();
  return files.length || !words ? files : [written("", words)];
}

/** A text that was typed, or an answer with the question that it answers. */
export function written(question, answer) {
  if (!question) return { name: "written.txt", blob: new Blob([answer], { type: "text/plain" }) };
  const row = { messages: [{ role: "user", content: question }, { role: "assistant", content: answer }] };
  return { name: "written.jsonl", blob: new Blob([JSON.stringify(row) + "\n"], { type: "application/jsonl" }) };
}
