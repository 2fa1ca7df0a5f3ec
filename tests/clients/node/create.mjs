// Create one job, as any script does, and print its id: file, client's own retries.
import OpenAI from "openai";

const client = new OpenAI({ maxRetries: Number(process.argv[3]) });
const job = await client.fineTuning.jobs.create({ model: "tiny-texts", training_file: process.argv[2] });
console.log(job.id);
