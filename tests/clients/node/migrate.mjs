// The whole life of a job with the client for Node: chats in, events, checkpoints and results out.
import fs from "node:fs";
import OpenAI from "openai";

const client = new OpenAI({ baseURL: process.argv[3] });
const sleep = (seconds) => new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
const run = `node-${Date.now()}`;

async function until(id, ...statuses) {
  for (;;) {
    const job = await client.fineTuning.jobs.retrieve(id);
    if (statuses.includes(job.status)) return job;
    await sleep(0.2);
  }
}

async function all(pages) {
  const items = [];
  for await (const item of pages) items.push(item);
  return items;
}

const file = await client.files.create({
  file: fs.createReadStream(process.argv[2]),
  purpose: "fine-tune",
  expires_after: { anchor: "created_at", seconds: 3600 },
});
await client.files.waitForProcessing(file.id);
console.log("expires", file.expires_at - file.created_at);

const body = { model: "gpt-4o-mini-2024-07-18", training_file: file.id, metadata: { run } };
const method = { type: "supervised", supervised: { hyperparameters: { n_epochs: 3 } } };
const [kept, dropped] = await Promise.all([
  client.fineTuning.jobs.create({ ...body, method, suffix: "node" }),
  client.fineTuning.jobs.create({ ...body, hyperparameters: { n_epochs: "auto" } }),
]);
await client.fineTuning.jobs.cancel(dropped.id);
console.log("cancelled", (await until(dropped.id, "cancelled")).status);

await until(kept.id, "running");
await client.fineTuning.jobs.pause(kept.id);
console.log("paused", (await until(kept.id, "paused")).status);
console.log("resumed", (await client.fineTuning.jobs.resume(kept.id)).status);
const job = await until(kept.id, "succeeded", "failed", "cancelled");
console.log("ended", job.status, job.method.supervised.hyperparameters.n_epochs);

console.log("found", (await all(client.fineTuning.jobs.list({ metadata: { run }, limit: 1 }))).length);
console.log("events", (await all(client.fineTuning.jobs.listEvents(job.id, { limit: 2 }))).length > 4);
const points = await all(client.fineTuning.jobs.checkpoints.list(job.id, { limit: 1 }));
console.log("checkpoints", points.map((point) => point.step_number).join(" "));
const curve = await (await client.files.content(job.result_files[0])).text();
console.log("curve", curve.split("\n")[0].split(",").slice(0, 2).join(" "));
console.log("model", (await client.models.retrieve(job.fine_tuned_model)).id === job.fine_tuned_model);
console.log("listed", (await all(client.models.list())).some((model) => model.id === job.fine_tuned_model));

const failed = async (call) => call.then(() => "no error", (error) => `${error.status} ${error.type} ${error.code} ${error.param}`);
console.log("unknown", await failed(client.fineTuning.jobs.retrieve("ftjob-none")));
console.log("too late", await failed(client.fineTuning.jobs.cancel(job.id)));
console.log("wandb", await failed(client.fineTuning.jobs.create({ ...body, integrations: [{ type: "wandb", wandb: { project: "x" } }] })));
console.log("model deleted", (await client.models.delete(job.fine_tuned_model)).deleted);
console.log("file deleted", (await client.files.delete(file.id)).deleted);
