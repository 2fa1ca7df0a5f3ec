// Why a job published the step that it did: no more is said than its figures carry.
import { RESULT } from "../../words/result.js";

const W = RESULT.reasons;
export const NEAR = 0.7; // of the way to the references, below which the sentence says how far it went
export const MUCH = 0.1; // of what it knew, above which what was lost of it stands out
const LEVELLED = 0.9; // of the nearest that any kept step comes, from which on nothing comes clearly nearer
const SEEN = 0.1; // of the way; pictures of which none go so far have no say

/** What was measured of the published step's own pictures or answers, if anything was. */
export const lookedAt = (bat) => (bat.pictures?.length ? bat.pictures : bat.answers || []).find((row) => row.step === bat.published_step) || {};

/** How near it comes to the references; null where that was not measured. */
export const wayOf = (bat) => lookedAt(bat).similarity ?? null;

/** What the pictures say for their step; null where they do not speak for it. */
function ofPictures(bat, step, last) {
  const rows = (bat.pictures || []).filter((row) => row.step > 0).sort((a, b) => a.step - b.step);
  const best = Math.max(...rows.map((row) => row.similarity));
  const here = rows.find((row) => row.step === step);
  if (!here || best < SEEN || bat.proposals?.pictures?.[0] !== step) return null;
  if (here.similarity >= LEVELLED * best) {
    if (step === last) return W.nearing(step);
    return here.similarity >= NEAR && here.swallowed < MUCH ? W.similarApart(step) : W.similar(step);
  }
  // an earlier one than that which comes nearest: further on other things change too, or lose what they show
  return step === rows[0].step ? null : W.before(step);
}

/** What the answers say for their step; null where they do not speak for it. */
function ofAnswers(bat, step) {
  const { fitting, asked } = lookedAt(bat);
  return asked && fitting && bat.proposals?.answers?.[0] === step ? W.voice(step, fitting, asked) : null;
}

export function reasonOf(bat) {
  const { published_step: step, stop_rule: rule, proposals = {} } = bat;
  if (rule === "owner") return W.owner(step);
  if (rule === "max_steps") return W.told(step);
  const last = proposals.max_steps?.[0];
  const matched = proposals.matched_loss?.[0] === step;
  const turned = bat.turning_point_step === step && (rule === "cs_fluctuation" || !proposals.matched_loss);
  const why =
    (turned && W.turning(step)) ||
    ofPictures(bat, step, last) ||
    ofAnswers(bat, step) ||
    (matched && (step === last ? W.heldoutLast(step) : W.heldout(step))) ||
    (step === last ? W.last(step) : W.other(step));
  const way = wayOf(bat);
  return way !== null && way < NEAR ? `${why} ${W.far(Math.max(0, way))}` : why;
}
