// The policies: what is known of each, and where it comes from. fleet_table.js shows them.

import { ALL, build, show } from "./fleet_table.js";
import { Problem } from "./session.js";
import { follow } from "./stream.js";

/** Figures are no change that the stream tells: they are asked for. */
const REFRESH = 10_000;
/** The same where there is no stream. */
const POLL = 3_000;

function rank(item) {
  const status = item.ready?.status ?? (item.healthy ? "True" : "Unknown");
  if (status === "False") return 0;
  if (status !== "True") return 1;
  return item.degraded?.status === "True" ? 2 : 3;
}

const keyOf = (item) => `${item.namespace}/${item.name}`;
const lost = (item) => (item.totalReplicas ?? 0) - (item.healthyReplicas ?? item.totalReplicas ?? 0);

/** What is no change in the stream where it alone differs. */
const figuresOf = ({ replicaUsagePercentage, averageResponseTime, worstLagMilliseconds, connections }) =>
  ({ replicaUsagePercentage, averageResponseTime, worstLagMilliseconds, connections });

/** What whoever is signed in wanted to see last, by namespace: for when they come back. */
const kept = new WeakMap();

function wantedOf(session, namespace) {
  if (!kept.has(session)) kept.set(session, new Map());
  const all = kept.get(session);
  if (!all.has(namespace)) all.set(namespace, { typed: "", state: ALL, region: ALL, first: 0 });
  return all.get(namespace);
}

export function fleet(root, session, page, { namespace }) {
  const policies = new Map();
  const wanted = wantedOf(session, namespace);
  const parts = build(root, wanted, namespace, () => draw());
  const scope = namespace ? `namespace=${encodeURIComponent(namespace)}` : "";
  let stream = null;
  let timer = null;
  let isAsking = false;
  let isPolled = false;
  let isRefused = false;
  let isClosed = false;
  /** Whether the stream tells what changes: a list gives figures alone then, as it may be older, or of another Pod. */
  let isLive = false;

  const keep = (item) => policies.set(keyOf(item), { ...item, key: keyOf(item), rank: rank(item), lost: lost(item) });

  function draw() {
    performance.mark("fleet-begin");
    show(parts, wanted, [...policies.values()]);
    performance.measure("fleet update", "fleet-begin");
    performance.clearMarks("fleet-begin");
  }

  function told(name, data) {
    if (name === "snapshot") policies.clear();
    for (const item of data.items) keep(item);
    for (const gone of data.removed ?? []) policies.delete(keyOf(gone));
    if (data.answeredBy) page.origin(data);
    parts.fail(null);
    draw();
  }

  async function list() {
    const all = [];
    let after = "";
    do {
      const query = [scope, "limit=500", after && `continue=${encodeURIComponent(after)}`].filter(Boolean).join("&");
      const answer = await session.get(`/api/v1/policies?${query}`);
      all.push(...answer.items);
      if (!isClosed) {
        parts.note(answer.withoutFigures);
        page.origin(answer);
      }
      after = answer.continue;
    } while (after);
    return all;
  }

  async function refresh() {
    if (isAsking) return;
    isAsking = true;
    const wasLive = isLive;
    try {
      const all = await list();
      if (isClosed) return;
      if (isPolled) page.state("Polled", null);
      if (wasLive || isLive) measured(all);
      else told("snapshot", { items: all });
    } catch (problem) {
      if (!(problem instanceof Problem)) reportError(problem);
      else if (!isClosed) failed(problem);
    } finally {
      isAsking = false;
    }
  }

  /** Takes the figures of policies that the stream has told of. */
  function measured(items) {
    for (const item of items) {
      const known = policies.get(keyOf(item));
      if (known) keep({ ...known, ...figuresOf(item) });
    }
    if (policies.size > 0) draw();
  }

  function failed(problem) {
    if (problem.code === 403) return refused(problem);
    if (isPolled) page.state("Waiting", problem);
    if (policies.size === 0) parts.fail(problem);
  }

  /** Whoever may not list them any more sees none, and is asked where else to look. */
  function refused(problem) {
    isRefused = true;
    clearInterval(timer);
    page.state("Ended", problem);
    if (policies.size > 0) {
      policies.clear();
      draw();
    }
    parts.fail(problem);
  }

  function state(word, problem) {
    isLive = word === "Live";
    if (word === "Ended") poll();
    else page.state(word, problem);
  }

  /** Whoever may list policies, and not watch them, has the answers to requests. These say what is wrong otherwise. */
  function poll() {
    if (isRefused) return;
    clearInterval(timer);
    isPolled = true;
    page.state("Polled", null);
    refresh();
    timer = setInterval(refresh, POLL);
  }

  function resume() {
    if (stream || isClosed) return;
    isRefused = false;
    stream = follow(session, `/api/v1/events${scope && `?${scope}`}`, { told, state });
    refresh();
    timer = setInterval(refresh, REFRESH);
  }

  function pause() {
    stream?.close();
    stream = null;
    isLive = false;
    isPolled = false;
    clearInterval(timer);
  }

  resume();
  return { pause, resume, close() { isClosed = true; pause(); parts.close(); } };
}
