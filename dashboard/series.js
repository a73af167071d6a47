// What was measured of each server, one point after the other.

/** Answers that come sooner after each other are one point. */
const STEP = 0.5;
/** After a longer pause nobody knows what was between two answers: the line has a gap. */
const GAP = 10;

/** `kinds`: what is measured, each a function of a server; `most`: points that are kept. */
export class Series {
  /** Seconds, ascending. */
  times = [];
  #kinds;
  #most;
  #rows = new Map();

  constructor(kinds, most) {
    this.#kinds = kinds;
    this.#most = most;
  }

  has(id) {
    return this.#rows.has(id);
  }

  /** The values of a server, a row for each kind; null: not known. */
  of(id) {
    return this.#rows.get(id);
  }

  /** `at`: seconds. */
  take(at, servers) {
    const last = this.times.at(-1);
    if (last !== undefined && at - last > GAP) this.#point(last + STEP, []);
    if (last === undefined || at - last >= STEP) this.#point(at, servers);
    else this.#fill(servers);
    while (this.times.length > this.#most) {
      this.times.shift();
      for (const rows of this.#rows.values()) rows.forEach((row) => row.shift());
    }
  }

  #point(at, servers) {
    this.times.push(at);
    this.#fill(servers);
  }

  /** The newest point has what is known of these servers, and nothing of the others. */
  #fill(servers) {
    const place = this.times.length - 1;
    const now = new Map(servers.map((server) => [server.id, server]));
    for (const id of now.keys()) {
      if (!this.has(id)) this.#rows.set(id, this.#kinds.map(() => new Array(place).fill(null)));
    }
    for (const [id, rows] of this.#rows) {
      const server = now.get(id);
      rows.forEach((row, number) => { row[place] = server ? this.#kinds[number](server) : null; });
    }
  }
}
