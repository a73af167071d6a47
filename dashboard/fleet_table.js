// The policies as a table: the worst first, filtered, by region, paged.

import { Children, h, mark, say } from "./dom.js";
import { count, percent, span, UNKNOWN } from "./words.js";

const PAGE = 50;
/** Of a filter: whatever it is. */
export const ALL = "";

/** How bad a policy is, and the word for it. The first is the worst. */
const STATES = [
  { id: "bad", word: "Not ready", sign: "■" },
  { id: "unknown", word: "Unknown", sign: "○" },
  { id: "warn", word: "Degraded", sign: "▲" },
  { id: "good", word: "Ready", sign: "●" },
];

/** The worst first; of equal ones in the order of their names, so that nothing moves without a reason. */
function compare(a, b) {
  return a.rank - b.rank || b.lost - a.lost || (a.key < b.key ? -1 : 1);
}

/** The parts of the page below `root`; `changed` is called once somebody wants to see others. */
export function build(root, wanted, namespace, changed) {
  const again = (change) => { change(); wanted.first = 0; changed(); };
  const title = h("h1", {}, namespace ? `Policies of ${namespace}` : "Policies");
  const summary = h("p", { class: "summary muted" }, "Asking the operator");
  const states = h("div", { class: "chips", role: "group", "aria-label": "State" });
  const regions = h("div", { class: "chips", role: "group", "aria-label": "Region" });
  const filter = h("input", {
    type: "search", id: "filter", placeholder: "Name, namespace or reason", autocomplete: "off", spellcheck: "false",
    value: wanted.typed,
    on: { input: () => again(() => { wanted.typed = filter.value; }) },
  });
  const body = h("tbody");
  const head = ["State", "Policy", "Writes", "Replicas", "Lag", "Response", "Sessions", "Reads on replicas"];
  const figures = new Set(["Replicas", "Lag", "Response", "Sessions", "Reads on replicas"]);
  const table = h("table", { class: "fleet" },
    h("caption", { class: "hidden" }, "Policies, the worst first"),
    h("thead", {}, h("tr", {}, head.map((name) => h("th", { scope: "col", class: figures.has(name) ? "figure" : null }, name)))),
    body);
  const move = (by) => { wanted.first += by; changed(); };
  const back = h("button", { type: "button", on: { click: () => move(-PAGE) } }, "Previous");
  const on = h("button", { type: "button", on: { click: () => move(PAGE) } }, "Next");
  const place = h("span", { class: "muted", role: "status" });
  const pager = h("nav", { class: "pager", "aria-label": "Pages" }, back, place, on);
  const failed = h("div", { class: "slot" });
  let failure = "";
  const note = h("p", { class: "notice note", hidden: true });
  const none = h("p", { class: "card none muted", hidden: true }, "No policy is like that.");
  const tools = h("div", { class: "tools" },
    h("div", { class: "field" }, h("label", { for: "filter" }, "Filter"), filter), states, regions);
  root.replaceChildren(h("div", { class: "head" }, title, summary), failed, note, tools, h("div", { class: "card wide" }, table), none, pager);

  const chips = (container, name) => new Children(container, (chip) => chip.id, (chip) => {
    const number = h("span", { class: "number" });
    const sign = h("span", { class: "sign", "aria-hidden": "true" });
    const text = h("span");
    const node = h("button", {
      type: "button", class: "chip",
      on: { click: () => again(() => { wanted[name] = wanted[name] === chip.id ? ALL : chip.id; }) },
    }, sign, text, " ", number);
    return { node, show({ word, total, state, sign: shown }) {
      say(text, word);
      say(number, count(total));
      say(sign, shown ?? "");
      mark(sign, "data-state", state ?? null);
      mark(node, "aria-pressed", wanted[name] === chip.id);
    } };
  });
  const keys = (event) => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName)) return;
    event.preventDefault();
    filter.focus();
  };
  document.addEventListener("keydown", keys);
  return {
    summary, none, pager, back, on, place, table,
    rows: new Children(body, (item) => item.key, row),
    states: chips(states, "state"),
    regions: chips(regions, "region"),
    regionGroup: regions,
    note: (why) => {
      note.hidden = !why;
      say(note, why ? `No live figures. Shown is what the status has: ${why}` : "");
    },
    close: () => document.removeEventListener("keydown", keys),
    fail: (problem) => {
      // The same once more is no alert, and leaves alone what was written.
      const text = problem ? `${problem.code} ${problem.message}` : "";
      if (text === failure) return;
      failure = text;
      if (problem) say(summary, "");
      failed.replaceChildren(...(problem ? [refusal(problem, namespace)] : []));
    },
  };
}

/** What was refused, and the ways that are left: one namespace, or one policy. */
function refusal(problem, namespace) {
  const field = h("input", { id: "where", placeholder: "NAMESPACE or NAMESPACE/NAME", autocomplete: "off", spellcheck: "false", required: true });
  const submit = (event) => {
    event.preventDefault();
    location.hash = `#/${field.value.trim().split("/").map(encodeURIComponent).join("/")}`;
  };
  return h("div", { class: "notice bad", role: "alert" },
    h("p", {}, h("strong", {}, problem.code === 403 ? "You may not list these policies. " : "The policies cannot be shown. "), problem.message),
    problem.code === 403
      ? h("form", { class: "inline", on: { submit } },
          h("label", { for: "where" }, namespace ? "Another namespace, or a policy" : "A namespace, or a policy"), field,
          h("button", { type: "submit" }, "Show"))
      : null);
}

function row() {
  const cell = (label, name) => h("td", { "data-label": label, class: name ?? null });
  const sign = h("span", { class: "sign", "aria-hidden": "true" });
  const word = h("span");
  const link = h("a", { class: "policy" });
  const reason = h("span", { class: "reason muted" });
  const cells = {
    writes: cell("Writes", "id"), replicas: cell("Replicas", "figure"), lag: cell("Lag", "figure"), response: cell("Response", "figure"),
    sessions: cell("Sessions", "figure"), share: cell("Reads on replicas", "figure"),
  };
  const node = h("tr", {}, h("td", { class: "state" }, sign, word), h("th", { scope: "row" }, link, reason), Object.values(cells));
  return { node, show(item) {
    const state = STATES[item.rank];
    mark(node, "data-state", state.id);
    mark(sign, "data-state", state.id);
    say(sign, state.sign);
    say(word, state.word);
    mark(link, "href", `#/${encodeURIComponent(item.namespace)}/${encodeURIComponent(item.name)}`);
    say(link, item.key);
    const why = item.rank === 3 ? null : item.rank === 2 ? item.degraded : item.ready;
    say(reason, why ? why.message || why.reason : "");
    mark(reason, "title", why?.message ?? null);
    say(cells.writes, item.writePrimary ?? UNKNOWN);
    say(cells.replicas, item.totalReplicas === null ? UNKNOWN : `${count(item.healthyReplicas)}/${count(item.totalReplicas)}`);
    say(cells.lag, span(item.worstLagMilliseconds));
    say(cells.response, span(item.averageResponseTime));
    say(cells.sessions, count(item.connections));
    say(cells.share, percent(item.replicaUsagePercentage));
  } };
}

/** Shows those of the policies that are wanted. */
export function show(parts, wanted, all) {
  const text = wanted.typed.trim().toLowerCase();
  const has = (item, but) =>
    (but === "state" || wanted.state === ALL || STATES[item.rank].id === wanted.state) &&
    (but === "region" || wanted.region === ALL || (item.regions ?? []).includes(wanted.region)) &&
    (text === "" || textOf(item).includes(text));
  const shown = all.filter((item) => has(item)).sort(compare);
  const last = Math.max(0, Math.ceil(shown.length / PAGE) - 1) * PAGE;
  wanted.first = Math.max(0, Math.min(wanted.first, last));
  const page = shown.slice(wanted.first, wanted.first + PAGE);
  parts.rows.show(page);

  const ranks = [0, 0, 0, 0];
  for (const item of all) if (has(item, "state")) ranks[item.rank] += 1;
  parts.states.show(STATES.map((state, number) => ({ ...state, state: state.id, total: ranks[number] })));
  showRegions(parts, all.filter((item) => has(item, "region")), wanted);

  const bad = all.filter((item) => item.rank < 2).length;
  const degraded = all.filter((item) => item.rank === 2).length;
  say(parts.summary, all.length === 0 ? "The operator serves no policy here." : `${count(all.length)} in all, ${count(bad)} not ready, ${count(degraded)} degraded`);
  parts.none.hidden = shown.length > 0 || all.length === 0;
  parts.table.hidden = shown.length === 0;
  parts.pager.hidden = shown.length <= PAGE;
  parts.back.disabled = wanted.first === 0;
  parts.on.disabled = wanted.first >= last;
  say(parts.place, `${count(wanted.first + 1)} to ${count(wanted.first + page.length)} of ${count(shown.length)}`);
}

const textOf = (item) =>
  `${item.key} ${item.ready?.reason ?? ""} ${item.degraded?.status === "True" ? item.degraded.reason : ""} ${item.writePrimary ?? ""}`.toLowerCase();

/** Each region with the number of its policies, and how the worst of them is. */
function showRegions(parts, items, wanted) {
  const regions = new Map(wanted.region === ALL ? [] : [[wanted.region, { total: 0, worst: 3 }]]);
  for (const item of items) {
    for (const region of item.regions ?? []) {
      const known = regions.get(region) ?? { total: 0, worst: 3 };
      regions.set(region, { total: known.total + 1, worst: Math.min(known.worst, item.rank) });
    }
  }
  const chips = [...regions].map(([id, { total, worst }]) => ({ id, word: id, total, state: STATES[worst].id, sign: STATES[worst].sign }));
  parts.regions.show(chips.sort((a, b) => (a.id < b.id ? -1 : 1)));
  parts.regionGroup.hidden = chips.length === 0;
}
