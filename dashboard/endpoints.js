// The servers: where each is, how it is, why, what must happen next, and whether it may take over the writes.

import { Children, h, mark, say } from "./dom.js";
import { stateOf } from "./picture.js";
import { count, lag, rate, since, span, spaced, UNKNOWN } from "./words.js";

const SIGNS = { good: "●", warn: "▲", bad: "■", off: "□", unknown: "○" };

export function endpoints(acts) {
  const list = h("ul", { class: "servers" });
  const rows = new Children(list, (server) => server.id, (server) => card(server, acts));
  return {
    node: list,
    show(policy) {
      const first = policy.endpoints[0]?.id;
      // By the clock of the operator, as that of this machine may be another.
      const now = Date.parse(policy.observedAt);
      rows.show(policy.endpoints.map((server) => ({ ...server, now, isWriter: server.id === policy.writePrimary, isDeclaredPrimary: server.id === first })));
    },
  };
}

function card(server, acts) {
  const sign = h("span", { class: "sign", "aria-hidden": "true" });
  const name = h("h3");
  const role = h("span", { class: "role" });
  const place = h("p", { class: "place muted" });
  const reason = h("strong");
  const meansText = h("span");
  const means = h("p", { class: "means" }, reason, " ", meansText);
  const next = h("p", { class: "next" });
  const follows = h("p", { class: "muted takes-over" });
  const figures = Object.fromEntries(["Lag", "Transactions", "Sessions", "Response", "Weight", "Since"].map((label) => [label, h("dd")]));
  const buttons = acts.of(server.id);
  const node = h("li", { class: "card server-card" },
    h("div", { class: "who" }, sign, h("div", {}, h("div", { class: "title" }, name, role), place)),
    h("div", { class: "why" }, means, next, follows),
    h("dl", { class: "figures" }, Object.entries(figures).map(([label, dd]) => h("div", {}, h("dt", {}, label), dd))),
    buttons.node);
  return { node, show(server) {
    const state = stateOf(server);
    mark(node, "data-state", state);
    mark(sign, "data-state", state);
    say(sign, SIGNS[state]);
    say(name, server.name ?? server.id);
    say(role, roleOf(server));
    mark(role, "data-writer", server.isWriter ? "" : null);
    say(place, placeOf(server));
    say(reason, server.reason ? `${spaced(server.reason)}.` : "Not judged yet.");
    say(meansText, [server.means, server.failure && `The newest check failed: ${spaced(server.failure)}.`].filter(Boolean).join(" "));
    say(next, server.next ? `Next: ${server.next}` : "");
    next.hidden = !server.next;
    say(follows, takeOver(server));
    follows.hidden = follows.textContent === "";
    say(figures.Lag, server.role === "Standby" ? lag(server) : UNKNOWN);
    say(figures.Transactions, perSecond(server));
    say(figures.Sessions, server.serverMaxConnections === null ? count(server.connections) : `${count(server.connections)} of ${count(server.serverMaxConnections)}`);
    say(figures.Response, span(server.responseTimeMilliseconds));
    say(figures.Weight, count(server.weight));
    say(figures.Since, since(server.since, server.now));
    mark(figures.Since, "title", server.since ?? null);
    buttons.show(server);
  } };
}

function perSecond(server) {
  const value = server.statistics?.tenSeconds.transactions ?? null;
  return value === null ? UNKNOWN : `${rate(value)}/s`;
}

function roleOf(server) {
  if (server.isWriter) return server.role === "Primary" ? "takes the writes" : "took the writes last";
  return { Primary: "writable", Standby: "standby" }[server.role] ?? "role not known";
}

function placeOf(server) {
  const address = server.host ?? server.address;
  const parts = [
    server.name && server.id,
    address && (server.port ? `${address}:${server.port}` : address),
    server.address && server.address !== address && server.address,
    server.region && `region ${server.region}`,
    server.state !== "Active" && `declared ${server.state}`,
    server.circuit && server.circuit !== "Closed" && `circuit ${spaced(server.circuit).toLowerCase()}`,
  ];
  return parts.filter(Boolean).join(" · ");
}

/** Who may follow the write primary, and why not. */
function takeOver(server) {
  if (server.isWriter || server.role === "Unknown" || server.healthy === null) return "";
  if (server.cannotTakeOver) return `May not take over the writes: ${server.cannotTakeOverMeans ?? spaced(server.cannotTakeOver)}.`;
  return server.role === "Standby" ? "May take over the writes, once it is promoted." : "May take over the writes.";
}
