// How values are written.

const NUMBER = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const TENTH = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const TIME = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const ZONED = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit", timeZoneName: "short" });
const DATE = new Intl.DateTimeFormat("en-GB", {
  day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", second: "2-digit",
});

/** What is not known. */
export const UNKNOWN = "–";

const known = (value) => value !== null && value !== undefined;

export const count = (value) => (known(value) ? NUMBER.format(value) : UNKNOWN);

export const percent = (value) => (known(value) ? `${NUMBER.format(value)} %` : UNKNOWN);

/** A rate per second. */
export const rate = (value) => (known(value) ? (value < 10 ? TENTH : NUMBER).format(value) : UNKNOWN);

/** A span of milliseconds. */
export function span(milliseconds) {
  if (!known(milliseconds)) return UNKNOWN;
  if (milliseconds < 1) return "< 1 ms";
  if (milliseconds < 10) return `${TENTH.format(milliseconds)} ms`;
  if (milliseconds < 1000) return `${NUMBER.format(milliseconds)} ms`;
  if (milliseconds < 10_000) return `${TENTH.format(milliseconds / 1000)} s`;
  const seconds = Math.round(milliseconds / 1000);
  if (seconds < 120) return `${seconds} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 120) return `${minutes} min`;
  const hours = Math.round(minutes / 60);
  return hours < 48 ? `${hours} h` : `${Math.round(hours / 24)} d`;
}

/** The lag of a server. */
export function lag(server) {
  if (!known(server.lagMilliseconds)) return UNKNOWN;
  return (server.lagAtLeast ? "≥ " : "") + span(server.lagMilliseconds);
}

/** A moment, as of today the time alone. */
export function moment(text) {
  const at = new Date(text);
  const isToday = at.toDateString() === new Date().toDateString();
  return (isToday ? TIME : DATE).format(at);
}

/** A time of today with the zone that all times of the page are in. */
export const zoned = (text) => ZONED.format(new Date(text));

/** For how long something has been so at a moment, in milliseconds. */
export const since = (text, now) => (known(text) ? span(Math.max(1, now - Date.parse(text))) : UNKNOWN);

/** Items as a sentence has them. */
export function list(items, none = "nobody") {
  if (items.length === 0) return none;
  if (items.length === 1) return items[0];
  return `${items.slice(0, -1).join(", ")} and ${items.at(-1)}`;
}

/** Words of the operator, such as CircuitOpen, with spaces. */
export const spaced = (word) => word.replace(/(?<=[a-z])(?=[A-Z])/g, " ").replace(/(?<= )[A-Z](?=[a-z])/g, (letter) => letter.toLowerCase());

/** The name of a server for people. */
export const nameOf = (server) => server.name ?? server.id;
