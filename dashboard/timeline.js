// What happened: moves of routes, which the operator remembers, the newest change of each server, and those that were seen while the
// page was open.

import { Children, h, mark, say } from "./dom.js";
import { list, moment, nameOf, spaced } from "./words.js";

const MOST = 100;

const MOVES = {
  PrimaryMoved: "Writes moved",
  WritesWithdrawn: "Writes were withdrawn",
  ReadFallback: "The fallback took over reads",
  ReadFallbackEnded: "Reads went back from the fallback",
  RegionLeft: "Reads left their region",
  RegionRegained: "Reads came back to their region",
};

export function timeline() {
  const items = h("ol", { class: "timeline card" });
  const none = h("p", { class: "muted card none" }, "No route has moved, and no server has changed.");
  const rows = new Children(items, (item) => item.key, () => row());
  const seen = [];
  let before = null;

  return {
    node: h("div", {}, items, none),
    show(policy) {
      seen.push(...(before ? changes(before, policy) : standing(policy)));
      if (seen.length > MOST) seen.splice(0, seen.length - MOST);
      before = policy;
      const moves = policy.history.map((move, number) => ({
        key: `${move.at} ${move.route} ${move.kind} ${number}`, at: move.at, state: move.kind.endsWith("Ended") || move.kind === "RegionRegained" ? "good" : "warn",
        what: `${MOVES[move.kind] ?? spaced(move.kind)}: ${move.route} from ${list(move.from)} to ${list(move.to)}`,
        why: move.reason,
      }));
      const all = [...moves, ...seen].sort((a, b) => Date.parse(b.at) - Date.parse(a.at)).slice(0, MOST);
      rows.show(all);
      items.hidden = all.length === 0;
      none.hidden = all.length > 0;
    },
  };
}

function row() {
  const time = h("time");
  const what = h("span", { class: "what" });
  const why = h("span", { class: "muted" });
  const node = h("li", {}, time, h("div", {}, what, why));
  return { node, show(item) {
    node.dataset.state = item.state;
    time.dateTime = item.at;
    // As logs and Events have it.
    mark(time, "title", item.at);
    say(time, moment(item.at));
    say(what, item.what);
    say(why, item.why ?? "");
  } };
}

let number = 0;

/** Since when each server is as it is. */
function standing({ endpoints }) {
  const known = endpoints.filter((server) => server.since && server.reason);
  return known.map((server) => ({
    key: `seen ${number += 1}`, at: server.since, state: server.healthy ? "good" : "bad",
    what: `${nameOf(server)}: ${spaced(server.reason)}`, why: server.means,
  }));
}

/** What is another one than before: the reason of a server, and the status of a condition. */
function changes(before, now) {
  const at = now.observedAt;
  const found = [];
  const add = (state, what, why) => found.push({ key: `seen ${number += 1}`, at, state, what, why });
  const earlier = new Map(before.endpoints.map((server) => [server.id, server]));
  for (const server of now.endpoints) {
    const was = earlier.get(server.id);
    earlier.delete(server.id);
    if (!was) add("note", `${nameOf(server)} was added`, null);
    else if (was.reason !== server.reason) {
      const states = [was.reason, server.reason].map((reason) => (reason ? spaced(reason) : "not judged"));
      add(server.healthy ? "good" : "bad", `${nameOf(server)}: ${states.join(" → ")}`, server.means);
    } else if (was.role !== server.role) {
      add("note", `${nameOf(server)}: ${was.role} → ${server.role}`, server.means);
    }
  }
  for (const server of earlier.values()) add("note", `${nameOf(server)} was removed`, null);
  for (const condition of now.conditions) {
    const was = before.conditions.find(({ type }) => type === condition.type);
    if (was && was.status !== condition.status && ["Ready", "SplitBrainSuspected"].includes(condition.type)) {
      const isGood = (condition.type === "Ready") === (condition.status === "True");
      add(isGood ? "good" : "bad", `${spaced(condition.type)} is ${condition.status}: ${spaced(condition.reason)}`, condition.message);
    }
  }
  return found;
}
