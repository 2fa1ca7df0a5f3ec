// What is said while a job works, and on how it was made.
import { count } from "../lib/format.js";

export const WORKING = {
  queued: (before) => (before ? `Waiting: ${count(before, "job is", "jobs are")} before yours.` : "Waiting for a worker; yours is next."),
  paused: "Paused. Resume it, and it goes on from exactly here, even after a restart.",
  cancelled: "You stopped it. No adapter was made, and nothing of it runs any more.",
  pausing: "It pauses after this step.",
  stopping: "It stops after this step.",
  finishing: "Nearly there.",
  left: (time) => `about ${time} left`,
  done: (share) => `${share} done`,
  skipped: "not needed",
  spent: (time) => `took ${time}`,
  pause: "Pause",
  resume: "Resume",
  stop: "Stop",
  stopAsk: "What was learned until now is lost. To go on later, pause it instead.",
  close: "You may close this page. The work goes on, and the page finds it again.",
  reconnecting: "The line to the service broke; it is being taken up again.",
  from: (step) => `This is step ${step} of`,
  fromWhich: "another adapter of yours",
  again: "Try again with the same files",
  later: "Still to come",
  laterCurves: "Curves, with the first steps of training.",
  laterSamples: "Pictures that it draws on the way, while it trains.",
  laterAnswers: "Answers that it gives on the way, while it trains.",
  laterInfluence: "Which of the model's own examples go well with yours, after the search.",
  laterOwn: "Which of your files fit the others, after the rehearsal.",
  log: "Everything that happened",
  decided: "What was decided for you, and why",
  remarks: "Remarks on your files",
};

export const CURVES = {
  titleNow: "How it is going",
  titlePast: "How it went",
  lead: "Point at a line to read it. Drag to look closer, double-click to see all of it.",
  loss: ["Mistakes", "How wrong it still is. Lower is better, until it begins to cost something else."],
  rehearsal: ["When does learning turn into memorising?", "Where mistakes on files kept from it stop falling, more training only memorises."],
  trial: ["Is the protection worth it?", "Mistakes on files kept from it, at the same number of looks at your files. Lines that run together: the protection costs nothing."],
  cosine: ["Direction", "How far what it learns points the way of the model's own weights (cosine similarity)."],
  settling: ["Settling", "How restless that direction is in the steps that follow (CS-Fluctuation). Its second valley is the turning point."],
  settlingWeak: "In this run it was too noisy to decide anything.",
  names: {
    loss: "this batch",
    smooth: "smoothed",
    reference_loss: "your files",
    heldout_loss: "files kept from it",
    probe_loss: "everything else",
    with: "with protection",
    without: "without",
    cosine_similarity: "cosine similarity",
    cs_fluctuation: "CS-Fluctuation",
  },
  marks: { published: "chosen", turning: "turning point", valley: "valley", matched: "best on unseen files" },
  table: "Show as a table",
  step: "Step",
  at: (step) => `Step ${step}`,
  summary: (title, rows, first, last) => `${title}: ${count(rows, "point", "points")} from step ${first} to ${last}`,
};

export const SAMPLES = {
  title: "The same words, step by step",
  titleTexts: "The same question, step by step",
  lead: "All columns begin from the same random noise: what differs is what was learned.",
  leadTexts: "What each kept step answers. What differs is what was learned.",
  subject: "What you taught it",
  unrelated: "Other things, which should stay as they are",
  before: "Before",
  alt: (prompt, step) => (step === 0 ? `“${prompt}” before training` : `“${prompt}” at step ${step}`),
};

export const INFLUENCE = {
  title: "What it looked at besides your files",
  lead: "The model learned from these long ago. Of each it was asked: would training on it again help with yours?",
  helped: "Helped most",
  hurt: "Would have hurt most, and stayed out",
  drawn: "Some of those that were mixed in",
  random: "The scores contradicted each other, so they decided nothing: these were drawn at random from every kind.",
  none: "No examples of the model's own were used.",
  used: (chosen, all) => `${count(chosen, "example", "examples")} of ${all.toLocaleString("en")} went into the training.`,
  verdicts: {
    helps: "With them it made fewer mistakes on files of yours that were kept from it.",
    neutral: "For your files they made no difference; they keep the rest of the model as it was.",
    harms: "They made it worse for your files, so they were left out.",
  },
  ruler: ["worse", "no difference", "better"],
  rulerLabel: (gain, low, high) => `Mistakes on files kept from it changed by ${gain}, probably between ${low} and ${high}.`,
  exact: "In exact words",
};

export const OWN = {
  title: "Your files, judged",
  lead: "How much do the others teach about each? One that none of them explains may not belong.",
  verdicts: { helps: "fits", doubtful: "fits less", hurts: "does not fit", duplicate: "is there twice", unknown: "not known" },
  why: {
    helps: (share) => `The others take away ${share} of the mistakes on it.`,
    doubtful: (share) => `The others take away only ${share} of the mistakes on it. Look at it once more.`,
    hurts: (share) => `What the others teach makes mistakes on it grow by ${share}. Does it belong here?`,
    duplicate: (_, twins) => `Almost the same as ${twins}. One of them is enough.`,
    unknown: () => "It was never kept apart, so nothing can be said of it.",
  },
};
