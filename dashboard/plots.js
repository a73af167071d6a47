// Lag, transactions and sessions of each server, since the page was opened.

/* global uPlot */

import { Children, h, mark, say } from "./dom.js";
import { Series } from "./series.js";
import { count, nameOf, rate, span } from "./words.js";

/** 30 minutes of an answer every 2 s, more where a stream tells changes. */
const MOST = 1000;
/** Servers that are shown at first; the legend shows and hides. */
const FIRST = 8;
/** Colours of style.css, --line-1 and so on. */
const COLOURS = 8;
const HEIGHT = 180;

const PLOTS = [
  { title: "Lag", of: (server) => (server.role === "Standby" ? server.lagMilliseconds : null), word: span },
  { title: "Transactions per second", of: (server) => server.statistics?.tenSeconds.transactions ?? null, word: rate },
  { title: "Sessions", of: (server) => server.connections, word: count },
];

export function plots() {
  const legend = h("div", { class: "chips legend", role: "group", "aria-label": "Servers in the plots" });
  const grid = h("div", { class: "plots" });
  const series = new Series(PLOTS.map(({ of }) => of), MOST);
  const hidden = new Set();
  let servers = [];
  const all = PLOTS.map((kind) => plot(kind, grid));
  const keys = new Children(legend, (server) => server.id, (server) => {
    const node = h("button", { type: "button", class: "chip", on: { click: () => {
      if (!hidden.delete(server.id)) hidden.add(server.id);
      draw();
    } } }, h("span", { class: `line line-${server.colour}`, "aria-hidden": "true" }), h("span"));
    return { node, show(now) {
      say(node.lastChild, nameOf(now));
      mark(node, "aria-pressed", !hidden.has(now.id));
    } };
  });

  function draw() {
    keys.show(servers);
    const shown = servers.filter((server) => !hidden.has(server.id));
    all.forEach((one, number) => one.show(series.times, shown, shown.map((server) => series.of(server.id)[number])));
  }

  const watch = new ResizeObserver(() => all.forEach((one) => one.fit()));
  watch.observe(grid);
  const scheme = matchMedia("(prefers-color-scheme: dark)");
  const repaint = () => { all.forEach((one) => one.forget()); draw(); };
  scheme.addEventListener("change", repaint);

  return {
    node: h("div", {}, legend, grid),
    show(policy) {
      servers = policy.endpoints.map((server, number) => ({ ...server, colour: (number % COLOURS) + 1 }));
      servers.forEach((server, number) => {
        if (!series.has(server.id) && number >= FIRST) hidden.add(server.id);
      });
      series.take(Date.parse(policy.observedAt) / 1000, servers);
      draw();
    },
    close() {
      watch.disconnect();
      scheme.removeEventListener("change", repaint);
      all.forEach((one) => one.forget());
    },
  };
}

function plot({ title, word }, grid) {
  const place = h("div", { class: "plot", role: "img" });
  const none = h("p", { class: "muted none" }, "Nothing was measured yet.");
  const figure = h("figure", { class: "card" }, h("figcaption", {}, title), place, none);
  grid.append(figure);
  let drawn = null;
  let kept = "";

  const width = () => Math.max(120, Math.floor(place.getBoundingClientRect().width));
  const forget = () => {
    drawn?.destroy();
    drawn = null;
    kept = "";
  };
  return {
    forget,
    fit: () => drawn?.setSize({ width: width(), height: HEIGHT }),
    show(times, servers, rows) {
      const isEmpty = rows.every((row) => row.every((value) => value === null));
      none.hidden = !isEmpty;
      place.hidden = isEmpty;
      const last = servers.map((server, number) => [server, rows[number].at(-1)]).filter(([, value]) => value !== null);
      mark(place, "aria-label", `${title} now: ${last.map(([server, value]) => `${nameOf(server)} ${word(value)}`).join(", ") || "not known"}.`);
      if (isEmpty) return forget();
      const shape = servers.map((server) => server.id).join(" ");
      if (drawn && shape === kept) return drawn.setData([times, ...rows]);
      forget();
      kept = shape;
      drawn = new uPlot(options(servers, word, width()), [times, ...rows], place);
    },
  };
}

function options(servers, word, width) {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  const axis = {
    stroke: colour("--muted"), font: "11px system-ui, sans-serif",
    grid: { stroke: colour("--edge"), width: 1 }, ticks: { show: false },
  };
  return {
    width,
    height: HEIGHT,
    padding: [8, 10, 0, 0],
    legend: { show: false },
    cursor: { drag: { x: false, y: false }, points: { size: 6 } },
    scales: { x: { time: true }, y: { range: (_, low, high) => [0, Math.max(high ?? 0, 1) * 1.15] } },
    axes: [
      { ...axis, size: 26, space: 70, values: (_, at) => at.map((second) => new Date(second * 1000).toLocaleTimeString("en-GB")) },
      { ...axis, size: 58, values: (_, at) => at.map((value) => (value === 0 ? "0" : word(value))) },
    ],
    series: [{}, ...servers.map((server) => ({
      label: nameOf(server), stroke: colour(`--line-${server.colour}`), width: 1.75, spanGaps: false, points: { show: false },
    }))],
  };
}
