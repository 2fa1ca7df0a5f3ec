// Figures as people say them.
const MINUTE = 60;
const HOUR = 3600;

export function duration(seconds) {
  if (seconds < 50) return count(seconds && Math.max(1, Math.round(seconds)), "second", "seconds");
  if (seconds < 90 * MINUTE) return count(Math.round(seconds / MINUTE), "minute", "minutes");
  return count(Number((seconds / HOUR).toFixed(1)), "hour", "hours");
}

export const count = (number, one, more) => `${number.toLocaleString("en")} ${number === 1 ? one : more}`;

export function size(bytes) {
  const units = ["bytes", "KB", "MB", "GB", "TB"];
  let unit = 0;
  while (bytes >= 999.5 && unit < units.length - 1) {
    bytes /= 1000;
    unit += 1;
  }
  return `${unit && bytes < 9.95 ? bytes.toFixed(1) : Math.round(bytes)} ${units[unit]}`;
}

export const percent = (share) => `${Math.round(100 * share)} %`;
/** The same for a width in a style. */
export const width = (share) => `${(100 * Math.min(1, Math.max(0, share))).toFixed(2)}%`;

export function moment(seconds) {
  const date = new Date(1000 * seconds);
  const today = date.toDateString() === new Date().toDateString();
  const day = today ? {} : { day: "numeric", month: "short" };
  return date.toLocaleString(undefined, { ...day, hour: "2-digit", minute: "2-digit" });
}

/** A figure on an axis or in a table, short and readable. */
export function figure(value) {
  if (value === null || value === undefined) return "";
  const size = Math.abs(value);
  if (size !== 0 && (size < 0.001 || size >= 100_000)) return value.toExponential(1);
  return String(Number(value.toPrecision(3)));
}
