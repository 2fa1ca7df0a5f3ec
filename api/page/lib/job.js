// Everything that is known of one job, kept fresh while it works.
import { useEffect, useRef, useState } from "./html.js";
import { call, every, JOBS } from "./api.js";
import { follow } from "./stream.js";
import { refused } from "../parts/notes.js";

export const ACTIVE = ["queued", "running", "paused"];
const TICK = 3_000;
const HIDDEN_TICK = 15_000;
const POINTS = 1_500; // a curve has fewer pixels
const LOG = 500; // lines of it that are kept
const SAMPLES_EVERY = 3; // ticks, while a job trains

export const pathOf = (id) => `${JOBS}/${id}`;

/** What may not be there yet, or not any more: empty then. */
const ifThere = (loaded) => loaded.catch((error) => (error.status === 404 ? null : Promise.reject(error)));

/** Fetch the curves: thinned out at first, and afterwards what is new; whole again where `anew`. Gives all rows. */
function curves(id) {
  let rows = null;
  return async (anew) => {
    const whole = rows === null || anew;
    if (whole) rows = (await call(`${pathOf(id)}/metrics?points=${POINTS}`)).data;
    for (let more = !whole; more; ) {
      const last = rows.at(-1)?.id;
      const page = await call(`${pathOf(id)}/metrics?limit=1000${last ? `&after=${encodeURIComponent(last)}` : ""}`);
      if (page.data.length) rows = [...rows, ...page.data]; // kept here: what else is asked for at once may fail
      more = page.has_more;
    }
    return rows;
  };
}

/** Fetch what was found in the backbone's own data: undefined while it is not searched, false where nothing was. */
async function influenceOf(path) {
  const first = await ifThere(call(`${path}/influence?limit=60`));
  if (!first?.ready) return undefined;
  if (!first.data.length) return false;
  const drawn = first.selection === "random"; // then what was chosen stands anywhere
  const [{ data: helped }, hurt] = await Promise.all([drawn ? call(`${path}/influence?limit=1000`) : first, call(`${path}/influence?limit=20&order=asc`)]);
  return { selection: first.selection, helped, hurt: hurt.data };
}

/** Fetch the samples that `had` lacks; all of them at the end, for then steps have got their labels, or some are gone. */
async function samplesOf(path, had, ended) {
  const rows = ended ? [] : had || [];
  const last = rows.at(-1)?.id || "";
  const more = await every(`${path}/samples`, 100, last).catch((error) => (last && error.status === 400 ? null : Promise.reject(error)));
  return more ? [...rows, ...more] : samplesOf(path, [], ended); // a second try has begun anew
}

/** Fetch everything else that the stage or the end of the job has brought. */
async function results(job, had, tick) {
  const path = pathOf(job.id);
  const ended = !ACTIVE.includes(job.status);
  const training = ["train", "export"].includes(job.bat.stage);
  const due = ended ? !had.final : training && tick % SAMPLES_EVERY === 0;
  const found = {};
  if (due) {
    found.samples = (await ifThere(samplesOf(path, had.samples, ended))) || [];
    found.checkpoints = (await ifThere(every(`${path}/checkpoints`, 100))) || [];
  }
  const looked = had.influence !== undefined;
  if (ended ? !had.final : !looked && ["trial", "train", "export"].includes(job.bat.stage)) found.influence = await influenceOf(path);
  if (ended) found.final = true;
  return found;
}

export function useJob(id) {
  const [state, setState] = useState({ job: null, metrics: [], events: [], items: null, samples: [], checkpoints: [], influence: null, error: null, live: true });
  const wake = useRef(() => {});
  useEffect(() => {
    let gone = false;
    let timer;
    let tick = 0;
    let had = {};
    const more = curves(id);
    const put = (part) => gone || setState((old) => ({ ...old, ...part(old) }));

    async function look() {
      const job = await call(pathOf(id));
      const [metrics, found, items] = await Promise.all([
        more(!ACTIVE.includes(job.status)), // at the end as they are stored: a second try has written over the first
        results(job, had, tick++),
        had.items ? null : ifThere(every(`/v1/files/${job.training_file}/items`, 100)),
      ]);
      if (found.influence === undefined) delete found.influence;
      had = { ...had, ...found, items: true };
      put(() => ({ ...found, ...(items && { items }), job, error: null, metrics }));
      return ACTIVE.includes(job.status);
    }
    let looking = false;
    let asked = false; // while looking, to look once more afterwards
    async function keep() {
      if (looking) return (asked = true);
      clearTimeout(timer);
      looking = true;
      let again = true;
      let wait = 0;
      try {
        again = await look();
      } catch (failure) {
        refused((error) => put(() => ({ error })))(failure);
        again = ![401, 404].includes(failure.status);
        wait = 1000 * (failure.wait || 0);
      }
      looking = false;
      const soon = asked;
      asked = false;
      if (again && !gone) timer = setTimeout(keep, Math.max(wait, soon ? 0 : document.hidden ? HIDDEN_TICK : TICK));
    }
    wake.current = keep;
    keep();
    const stop = follow(
      id,
      // the loss is told every few seconds, and stands in the curves: it would push out what else has happened
      (name, event) => name === "message" && event.type !== "metrics" && put((old) => ({ events: [...old.events.slice(1 - LOG), event] })),
      (live) => put(() => ({ live })),
    );
    return () => {
      gone = true;
      clearTimeout(timer);
      stop();
    };
  }, [id]);
  const order = (what, body) => call(pathOf(id) + what, { method: "POST", body }).then((job) => {
    setState((old) => ({ ...old, job }));
    wake.current();
  });
  return [state, order];
}
