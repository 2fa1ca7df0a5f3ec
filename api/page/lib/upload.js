// The references of a new adapter: sent as they are dropped, shown item by item, edited in place.
import { useEffect, useRef, useState } from "./html.js";
import { call, every, send } from "./api.js";
import { zip } from "./zip.js";

const PICTURE = /\.(png|jpe?g|webp|heic|heif|avif|gif|tiff?|bmp)$/i;
const ITEMS = 100; // a page of them

const itemsOf = (file) => every(`/v1/files/${file}/items`, ITEMS);

/** One file goes as it is; several go as one zip, with their folders. */
async function packed(files) {
  if (files.length === 1) return { blob: files[0].blob, name: files[0].name };
  return { blob: await zip(files), name: files.some((file) => PICTURE.test(file.name)) ? "pictures.zip" : "texts.zip" };
}

function formOf({ blob, name }, fields) {
  const form = new FormData();
  for (const [field, value] of Object.entries(fields)) form.append(field, value);
  form.append("file", blob, name);
  return form;
}

/** Hold the upload `start` names, if any: {file, items, sent, changing, error} and what can be done with it. */
export function useUpload(start, remember) {
  const [file, setFile] = useState(null);
  const [items, setItems] = useState([]);
  const [sent, setSent] = useState(null); // a share while bytes leave; 1 while the service reads
  const [changing, setChanging] = useState(0);
  const [error, setError] = useState(null); // {place, error}
  const now = useRef(null);
  const line = useRef(Promise.resolve());

  const take = (answer, found) => {
    now.current = answer;
    setFile(answer);
    setItems(found);
    remember(answer?.id || null);
  };
  useEffect(() => {
    if (!start) return;
    Promise.all([call(`/v1/files/${start}`), itemsOf(start)]).then(
      ([answer, found]) => take(answer, found),
      (failure) => (failure.status === 404 ? remember(null) : setError({ place: "page", error: failure })),
    );
  }, []);

  /** One change after another: each names the version that it was made on. */
  const inLine = (place, change, again = null) => {
    setChanging((number) => number + 1);
    const done = line.current.then(async () => {
      try {
        const answer = await change(now.current);
        take(answer, await itemsOf(answer.id));
        setError(null);
        return true;
      } catch (failure) {
        setError({ place, error: failure, again });
        if (failure.code === "file_changed") take(await call(`/v1/files/${now.current.id}`), await itemsOf(now.current.id));
        return false;
      } finally {
        setSent(null);
        setChanging((number) => number - 1);
      }
    });
    line.current = done.then(() => {}, () => {});
    return done;
  };
  const at = (item) => `/v1/files/${now.current.id}/items/${item.id}`;

  const add = (files) =>
    inLine(
      "add",
      async (known) => {
        setSent(0);
        const path = known ? `/v1/files/${known.id}/items` : "/v1/files";
        return send(path, formOf(await packed(files), known ? { sha256: known.bat.sha256 } : { purpose: "fine-tune" }), setSent).done;
      },
      () => add(files),
    );

  return {
    file, items, sent, changing, error, setError,
    kind: file?.bat.kind || null,
    add,
    caption: (item, caption) =>
      inLine(item.id, (known) => call(`/v1/files/${known.id}/items`, { method: "POST", body: { items: [{ id: item.id, caption }], sha256: known.bat.sha256 } })),
    leaveOut: (item) => inLine(item.id, (known) => call(`${at(item)}?sha256=${known.bat.sha256}`, { method: "DELETE" })),
    replace: (item, blob) => inLine(item.id, (known) => call(at(item), { method: "PUT", body: formOf({ blob, name: blob.name }, { sha256: known.bat.sha256 }) })),
    rewrite: (item, content) => inLine(item.id, (known) => call(at(item), { method: "PUT", body: { ...content, sha256: known.bat.sha256 } })),
    forget: () => {
      setError(null);
      take(null, []);
    },
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
