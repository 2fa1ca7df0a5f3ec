// What the frame of the page says. Nothing here takes for granted that a reader knows what an adapter is.
export const GENERAL = {
  product: "Albatross",
  skip: "To the content",
  nav: { list: "Your adapters", make: "New adapter", settings: "Settings", main: "Main" },
  away: "The service does not answer. What is on this page is older; it is asked again by itself.",
  loading: "Loading",
  signIn: {
    title: "Sign in",
    lead: "This service belongs to whoever runs it, so there is nothing to register for. Ask them for a key.",
    label: "Your key",
    hint: "It begins with alb_. This tab keeps it until it is closed.",
    go: "Sign in",
    trying: "Looking at it",
    ended: "Your key has expired or was withdrawn. What you typed is still here: sign in, and go on.",
    expired: "This key has expired. Ask for another one.",
    usedLink: "This start link was used before, or is too old. Get a new one with “albatross link”, or sign in with a key.",
    starting: "Signing in",
  },
  list: {
    title: "Your adapters",
    empty: "A few pictures or texts of yours, and a model learns to make more like them.",
    emptyLead: "Give it five to twenty pictures of one thing, or a dozen texts in one voice. What comes back is a small file, called an adapter, that programs like ComfyUI, diffusers or llama.cpp put on top of the model.",
    first: "Make the first one",
    older: "Show older ones",
    done: (percent) => `${percent} done`,
    ready: "Ready",
    step: (step) => `step ${step}`,
  },
  status: { queued: "Waiting", running: "Working", paused: "Paused", succeeded: "Ready", failed: "Failed", cancelled: "Stopped" },
  learns: { images: "draws pictures", texts: "writes texts" },
  notFound: { title: "There is nothing here", lead: "The address may be mistyped, or what was here has been erased." },
  untitled: (id) => `Adapter ${id.replace("ftjob-", "").slice(0, 6)}`,
};

// Codes of refusals as people would say them; for every other code the service's own sentence is shown.
const REFUSALS = {
  service_away: "The service does not answer. Nothing that you typed is lost: try again in a moment.",
  invalid_api_key: "This key opens nothing here. Perhaps it was mistyped, or it has been withdrawn.",
  expired_api_key: "This key has expired. Ask for another one; what you typed is kept.",
  rate_limited: "That was faster than this service allows. Wait a moment, and try again.",
  job_not_found: "There is no such adapter. Perhaps it was erased.",
  insufficient_scope: "Your key may look, but not change anything. Ask whoever runs this service for one that may.",
  text_not_added: "The text that you wrote is not among the others yet. Add it, or empty its field; then go on.",
  file_in_use: "A job is learning from these files just now, so they stay as they are. Start over with a copy of them, or wait for it.",
  file_changed: "These files were changed in another tab. They have been loaded again: look at them, and repeat what you did.",
};

const TOO_MUCH = "That is more at once than gets through to this service. Send fewer files, or ask whoever runs it to let its proxy pass more.";

// what stands between this page and the service, such as a proxy, has no words of the service's own
const BETWEEN = { 413: TOO_MUCH, 429: REFUSALS.rate_limited };
const refusedBetween = (status) => BETWEEN[status] || (status >= 400 && status < 500 ? `Something between this page and the service refused that (${status}). Ask whoever runs it.` : REFUSALS.service_away);

export const say = (error) => REFUSALS[error.code] || error.message || refusedBetween(error.status);
