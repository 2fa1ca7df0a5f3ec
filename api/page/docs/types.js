// What a value may be, in words: from a JSON schema, one link for each object that it names.
import { html } from "../lib/html.js";

/** A range as people say it. */
function range(least, most, what = "") {
  const unit = what && ` ${what}`;
  if (least !== undefined && most !== undefined) return `${least} to ${most}${unit}`;
  if (most !== undefined) return `at most ${most}${unit}`;
  return least !== undefined ? `at least ${least}${unit}` : "";
}

function bounds(schema) {
  if (schema.type === "string") return range(schema.minLength || undefined, schema.maxLength, "characters");
  if (schema.type === "array") return range(schema.minItems, schema.maxItems, "entries");
  return range(schema.minimum ?? schema.exclusiveMinimum, schema.maximum ?? schema.exclusiveMaximum);
}

function one(schema) {
  if (schema.$ref) {
    const name = schema.$ref.split("/").pop();
    return html`<a href=${`#object-${name}`}>${name}</a>`;
  }
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" or ");
  if ("const" in schema) return JSON.stringify(schema.const);
  const within = bounds(schema);
  const more = within ? ` (${within})` : "";
  if (schema.type === "array") return html`list of ${all(schema.items || {})}${more}`;
  if (schema.additionalProperties instanceof Object) return html`object of ${all(schema.additionalProperties)}`;
  if (schema.format === "binary") return "bytes";
  return `${schema.type || "anything"}${more}`;
}

function all(schema) {
  const kinds = schema.anyOf || schema.oneOf || schema.allOf || [schema];
  return kinds.map((kind, place) => html`${place > 0 && " or "}${one(kind)}`);
}

/** The kinds of a value, and what it is where it is not given. */
export function Types({ schema }) {
  const absent = "default" in schema && schema.default !== null ? `; ${JSON.stringify(schema.default)} if not given` : "";
  return html`<span>${all(schema)}${absent}</span>`;
}

/** Words of the document, with what stands between backticks as code. */
export const words = (said) => (said || "").split("`").map((part, place) => (place % 2 ? html`<code>${part}</code>` : part));
