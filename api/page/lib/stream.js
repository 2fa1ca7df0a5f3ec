// A job's events as they happen. EventSource cannot send a key, so the stream is read by hand and taken up where it broke.
import { ApiError, authorization, JOBS, tellReach } from "./api.js";

const FIRST_WAIT = 500;
const LONGEST_WAIT = 15_000;

/** Split what has come into whole messages and the rest of one that is still coming. */
export function messages(text) {
  const blocks = text.replaceAll("\r\n", "\n").split("\n\n");
  const rest = blocks.pop();
  const found = blocks.map((block) => {
    const fields = { event: "message", data: "", id: null };
    for (const line of block.split("\n")) {
      const [, name, value] = /^(event|data|id): ?(.*)$/s.exec(line) || [];
      if (name === "data") fields.data += value;
      else if (name) fields[name] = value;
    }
    return fields;
  });
  return { found: found.filter((message) => message.data), rest };
}

/** Call `heard` with each message, and `live` with whether the stream is up; returns what ends it. */
export function follow(job, heard, live) {
  const stop = new AbortController();
  let last = null;

  async function listen() {
    const headers = { ...authorization(), accept: "text/event-stream", ...(last ? { "last-event-id": last } : {}) };
    const answer = await fetch(`${JOBS}/${job}/events`, { headers, signal: stop.signal });
    if (!answer.ok) throw new ApiError(answer.status, null);
    tellReach(true);
    live(true);
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let rest = ""; ; ) {
      const { value, done } = await reader.read();
      if (done) return false;
      const taken = messages(rest + value);
      rest = taken.rest;
      for (const message of taken.found) {
        last = message.id || last;
        if (message.event === "done") return true;
        heard(message.event, JSON.parse(message.data));
      }
    }
  }

  async function keep() {
    for (let wait = FIRST_WAIT; !stop.signal.aborted; wait = Math.min(2 * wait, LONGEST_WAIT)) {
      try {
        const began = Date.now();
        if (await listen()) return;
        if (Date.now() - began > LONGEST_WAIT) wait = FIRST_WAIT;
      } catch (failure) {
        if (stop.signal.aborted) return;
        if ([401, 403, 404].includes(failure.status)) return;
      }
      live(false);
      await new Promise((resolve) => setTimeout(resolve, wait * (1 + Math.random() / 2)));
    }
  }
  keep();
  return () => stop.abort();
}
