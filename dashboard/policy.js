// One policy: how it is, why, and what to do.

import { actions } from "./actions.js";
import { h, mark, renew, say } from "./dom.js";
import { endpoints } from "./endpoints.js";
import { picture } from "./picture.js";
import { plots } from "./plots.js";
import { policyPath, Problem } from "./session.js";
import { follow } from "./stream.js";
import { timeline } from "./timeline.js";
import { count, lag, moment, nameOf, percent, span, spaced, UNKNOWN } from "./words.js";

/** Figures are no change that the stream tells: they are asked for. */
const REFRESH = 2000;

/** Conditions that are bad where they are True; the others are where they are False. */
const BAD_IF_TRUE = new Set(["Degraded", "Reconciling", "Stalled", "ReadFallbackActive", "SplitBrainSuspected"]);
/** What is said at the top, the most urgent first. Ready says the same as Programmed and the like, in more words. */
const NOTICES = [
  ["SplitBrainSuspected", "bad"], ["Ready", "bad"], ["Stalled", "bad"], ["Accepted", "bad"], ["PrimaryReachable", "bad"],
  ["ReadFallbackActive", "warn"], ["Degraded", "warn"], ["StrategyEnforced", "note"],
];

export function policy(root, session, page, key) {
  const parts = build(root, session, page, key);
  const path = policyPath(key);
  let stream = null;
  let timer = null;
  let isAsking = false;
  let isClosed = false;
  /** Whether the stream tells what changes: other answers give figures alone then, as they may be older, or of another Pod. */
  let isLive = false;
  let shown = null;

  function show(policy) {
    if (isClosed) return;
    shown = policy;
    performance.mark("policy-begin");
    parts.show(policy);
    performance.measure("policy update", "policy-begin");
    performance.clearMarks("policy-begin");
    page.origin(policy);
  }

  async function refresh() {
    if (isAsking) return;
    isAsking = true;
    const wasLive = isLive;
    try {
      const policy = await session.get(path);
      show(shown && (wasLive || isLive) ? withFigures(shown, policy) : policy);
      parts.fail(null);
      parts.askAgain();
    } catch (problem) {
      if (!(problem instanceof Problem)) reportError(problem);
      else if (!isClosed && !isLive) failed(problem);
    } finally {
      isAsking = false;
    }
  }

  /** What is gone, or may not be read any more, is not shown any more. */
  function failed(problem) {
    const isGone = problem.code === 403 || problem.code === 404;
    if (isGone) {
      shown = null;
      parts.clear();
    }
    if (isGone || !shown) parts.fail(problem);
  }

  function state(word, problem) {
    isLive = word === "Live";
    // Whoever may read a policy, and not watch it, has the answers to requests.
    const isPolled = word === "Ended" && shown !== null;
    page.state(isPolled ? "Polled" : word, problem);
    if (isLive) parts.fail(null);
    else if (problem && !isPolled) failed(problem);
  }

  function resume() {
    if (stream || isClosed) return;
    stream = follow(session, `${path}/events`, { told: (_, policy) => show(policy), state });
    timer = setInterval(refresh, REFRESH);
    parts.resume();
  }

  function pause() {
    stream?.close();
    stream = null;
    isLive = false;
    clearInterval(timer);
    parts.pause();
  }

  resume();
  return { pause, resume, close() { isClosed = true; pause(); parts.close(); } };
}

/** A policy with the figures of another answer: with what is no change where it alone differs. */
function withFigures(policy, { endpoints, statistics, observedAt, answeredBy, leader, withoutFigures }) {
  const measured = new Map(endpoints.map((server) => [server.id, server]));
  const figures = ({ lagMilliseconds, lagBytes, lagAtLeast, responseTimeMilliseconds, connections, transactions, statistics }) =>
    ({ lagMilliseconds, lagBytes, lagAtLeast, responseTimeMilliseconds, connections, transactions, statistics });
  return {
    ...policy, statistics, observedAt, answeredBy, leader, withoutFigures,
    endpoints: policy.endpoints.map((server) => ({ ...server, ...figures(measured.get(server.id) ?? server) })),
  };
}

function build(root, session, page, key) {
  const status = h("span", { class: "badge" });
  const told = h("p", { class: "lead" });
  const facts = h("p", { class: "muted facts" });
  const failed = h("div", { class: "slot" });
  const notices = h("div", { class: "notices" });
  const tiles = h("dl", { class: "tiles" });
  const conditions = h("tbody");
  const acts = actions(session, page, key);
  const drawn = picture();
  const servers = endpoints(acts);
  const moves = timeline();
  const figures = plots();
  const whole = h("div", { class: "whole", hidden: true },
    notices, tiles,
    section("Routes and servers", drawn.node),
    section("Servers", servers.node, acts.tools),
    section("Figures since this page was opened", figures.node),
    section("Timeline", moves.node),
    section("Conditions", h("div", { class: "card wide" }, h("table", { class: "conditions" },
      h("thead", {}, h("tr", {}, ["Condition", "Status", "Reason", "Message", "Since"].map((name) => h("th", { scope: "col" }, name)))),
      conditions))));
  root.replaceChildren(
    h("nav", { class: "crumbs", "aria-label": "Where you are" },
      h("a", { href: "#/" }, "Policies"), " / ", h("a", { href: `#/${encodeURIComponent(key.namespace)}` }, key.namespace)),
    h("div", { class: "head" }, h("h1", {}, key.name), status, acts.check),
    failed, told, facts, whole, acts.dialog);

  return {
    show(policy) {
      whole.hidden = false;
      const conditionOf = (type) => policy.conditions.find((condition) => condition.type === type);
      const state = stateOf(conditionOf);
      mark(status, "data-state", state.id);
      say(status, state.word);
      say(told, conditionOf("Ready")?.message ?? "The operator has not judged this policy yet.");
      say(facts, factsOf(policy));
      renew(notices, [...noticesOf(conditionOf), ...withoutFigures(policy)]);
      renew(tiles, tilesOf(policy));
      drawn.show(policy);
      servers.show(policy);
      figures.show(policy);
      moves.show(policy);
      renew(conditions, policy.conditions.map(conditionRow));
    },
    fail(problem) {
      // The same once more is no alert.
      const text = problem ? `${titleOf(problem)} ${problem.message}` : "";
      if (failed.textContent === text) return;
      failed.replaceChildren(...(problem ? [h("p", { class: "notice bad", role: "alert" },
        h("strong", {}, titleOf(problem)), " ", problem.message)] : []));
    },
    clear() {
      whole.hidden = true;
      mark(status, "data-state", null);
      for (const node of [status, told, facts]) say(node, "");
    },
    resume() { drawn.resume(); acts.ask(); },
    askAgain: acts.askAgain,
    pause() { drawn.pause(); },
    close() { drawn.pause(); figures.close(); },
  };
}

const titleOf = ({ code }) =>
  code === 403 ? "You may not read this policy." : code === 404 ? "There is no such policy." : "The policy cannot be shown.";

function section(title, ...content) {
  const id = title.toLowerCase().replaceAll(" ", "-");
  return h("section", { "aria-labelledby": id }, h("h2", { id }, title), content);
}

function stateOf(conditionOf) {
  const ready = conditionOf("Ready")?.status;
  if (ready === "False") return { id: "bad", word: "Not ready" };
  if (conditionOf("SplitBrainSuspected")?.status === "True") return { id: "bad", word: "Split brain suspected" };
  if (ready !== "True") return { id: "unknown", word: "Unknown" };
  return conditionOf("Degraded")?.status === "True" ? { id: "warn", word: "Degraded" } : { id: "good", word: "Ready" };
}

function factsOf({ routing, decision, generation }) {
  const facts = [
    routing.strategy && `Strategy ${spaced(routing.strategy)}`,
    decision && decision !== "Decided" && `Decision: ${decision}`,
    generation && `generation ${generation}`,
    routing.revision && `revision ${routing.revision.slice(0, 8)}`,
  ];
  return facts.filter(Boolean).join(" · ");
}

const isBad = ({ type, status }) => status === (BAD_IF_TRUE.has(type) ? "True" : "False");

/** Ready is the lead of the page already; what says the same is said once. */
function noticesOf(conditionOf) {
  const said = new Set([conditionOf("Ready")?.message]);
  const shown = [];
  for (const [type, state] of NOTICES) {
    const condition = conditionOf(type);
    if (type === "Ready" || !condition || !isBad(condition) || said.has(condition.message)) continue;
    said.add(condition.message);
    shown.push(h("p", { class: `notice ${state}`, role: type === "SplitBrainSuspected" ? "alert" : null },
      h("strong", {}, `${spaced(type)}: ${spaced(condition.reason)}. `), condition.message));
  }
  return shown;
}

/** Of the server of `kubectl distributary dashboard`: why it has the status alone. */
const withoutFigures = ({ withoutFigures }) =>
  withoutFigures ? [h("p", { class: "notice note" }, h("strong", {}, "No live figures. "), `Shown is what the status has: ${withoutFigures}`)] : [];

function tilesOf({ writePrimary, endpoints, statistics }) {
  const primary = endpoints.find((server) => server.id === writePrimary);
  const replicas = replicasOf(primary ?? endpoints[0], endpoints);
  const judged = replicas.every((server) => server.healthy !== null);
  const worst = replicas.filter((server) => server.lagMilliseconds !== null).sort((a, b) => b.lagMilliseconds - a.lagMilliseconds)[0];
  const tile = (name, value, more) => h("div", { class: "tile" }, h("dt", {}, name), h("dd", {}, value, more ? h("small", {}, more) : null));
  return [
    tile("Writes go to", primary ? nameOf(primary) : writePrimary ?? "nobody"),
    tile("Replicas that are well", `${judged ? replicas.filter(isHealthyReplica).length : UNKNOWN}/${replicas.length}`),
    tile("Worst lag", worst ? lag(worst) : UNKNOWN, worst ? nameOf(worst) : null),
    tile("Sessions", count(statistics.connections)),
    tile("Transactions on replicas", percent(statistics.replicaUsagePercentage), "of the last minute"),
    tile("Response of replicas", span(statistics.averageResponseTime), "mean of the checks"),
  ];
}

/** As the status counts them: after a failover the declared primary is one, and a server that is declared twice counts once. */
const replicasOf = (writer, endpoints) => endpoints.filter((server) => server !== writer && server.reason !== "SameServer");
const isHealthyReplica = ({ healthy, role, reason }) =>
  healthy && role === "Standby" && reason !== "WeightZero" && reason !== "ConfigurationHeld";

function conditionRow(condition) {
  const cell = (label, text) => h("td", { "data-label": label }, text);
  return h("tr", { "data-state": isBad(condition) ? "warn" : null }, h("th", { scope: "row" }, condition.type),
    cell("Status", condition.status), cell("Reason", condition.reason), cell("Message", condition.message),
    cell("Since", h("time", { datetime: condition.lastTransitionTime, title: condition.lastTransitionTime }, moment(condition.lastTransitionTime))));
}
