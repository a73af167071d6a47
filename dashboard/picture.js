// A picture of the routes, the servers that they lead to, and who follows whom. The table of the servers tells the same.

import { h, mark, s } from "./dom.js";
import { count, lag, list, nameOf, rate, spaced } from "./words.js";

const GAP = 14;
const ROUTE_HEIGHT = 50;
/** Servers with three lines each; more of them have one line each. */
const MANY = 12;
const EDGE = 10;
/** Room at the right for the lines of replication. */
const LANE = 34;

/** How a server looks: good, warn, bad or unknown. */
export function stateOf(server) {
  if (server.healthy === null) return "unknown";
  if (server.state === "Disabled" || server.state === "Draining") return "off";
  if (server.healthy) return server.reason === "Serving" || server.eligible ? "good" : "warn";
  return server.eligible ? "warn" : "bad";
}

export function picture() {
  const node = h("div", { class: "card picture" });
  let policy = null;
  let width = 0;
  let drawn = "";
  let figures = new Map();
  const watch = new ResizeObserver(([entry]) => {
    const now = Math.floor(entry.contentRect.width);
    if (now === width || now === 0) return;
    width = now;
    if (policy) draw();
  });

  function draw() {
    const shape = JSON.stringify([width, policy.writePrimary, policy.routing.routes, policy.endpoints.map(shapeOf)]);
    if (shape !== drawn) {
      drawn = shape;
      figures = new Map();
      node.replaceChildren(whole(policy, width, figures));
    }
    for (const server of policy.endpoints) {
      const text = figures.get(server.id);
      const said = figuresOf(server);
      if (text && text.textContent !== said) text.textContent = said;
    }
  }
  return {
    node,
    show(next) {
      policy = next;
      if (width > 0) draw();
    },
    resume: () => watch.observe(node),
    pause: () => watch.disconnect(),
  };
}

const shapeOf = (server) => [server.id, server.name, server.reason, server.role, stateOf(server)];

function figuresOf(server) {
  const parts = [];
  if (server.role === "Standby") parts.push(`lag ${lag(server)}`);
  const transactions = server.statistics?.tenSeconds.transactions ?? null;
  if (transactions !== null) parts.push(`${rate(transactions)} tx/s`);
  if (server.connections !== null) parts.push(`${count(server.connections)} sessions`);
  return parts.join(" · ");
}

function whole(policy, width, figures) {
  const isNarrow = width < 620;
  const isMany = policy.endpoints.length > MANY;
  const height = isMany ? 30 : 68;
  const gap = isMany ? 6 : GAP;
  const routes = Object.entries(policy.routing.routes).sort(([a], [b]) => place(a) - place(b) || (a < b ? -1 : 1));
  const routeWidth = isNarrow ? 82 : 190;
  const serverWidth = isNarrow ? width - routeWidth - 40 - LANE : Math.min(430, width - routeWidth - 110 - LANE);
  const left = width - serverWidth - LANE;
  const tallServers = policy.endpoints.length * (height + gap) - gap;
  const tallRoutes = routes.length * (ROUTE_HEIGHT + GAP) - GAP;
  const tall = Math.max(tallServers, tallRoutes, 60) + 2 * EDGE;
  const serverTop = (number) => EDGE + (tall - 2 * EDGE - tallServers) / 2 + number * (height + gap);
  const routeTop = (number) => EDGE + (tall - 2 * EDGE - tallRoutes) / 2 + number * (ROUTE_HEIGHT + GAP);
  const middle = new Map(policy.endpoints.map((server, number) => [server.id, serverTop(number) + height / 2]));

  const edges = routes.flatMap(([name, route], number) =>
    (route.targets ?? []).filter(({ endpoint }) => middle.has(endpoint)).map(({ endpoint }) =>
      edge(routeWidth, routeTop(number) + ROUTE_HEIGHT / 2, left, middle.get(endpoint), route.state, name)));
  const boxes = policy.endpoints.map((server, number) =>
    box(server, { x: left, y: serverTop(number), width: serverWidth, height, isMany, isNarrow }, policy, figures));
  const labels = routes.map(([name, route], number) => routeBox(name, route, { y: routeTop(number), width: routeWidth, isNarrow }));
  return s("svg", { width, height: tall, viewBox: `0 0 ${width} ${tall}`, role: "img", "aria-label": inWords(policy, routes) },
    replication(policy, left + serverWidth, middle), edges, labels, boxes);
}

/** Writes first, then reads. */
const place = (name) => ({ rw: 0, ro: 1 })[name] ?? 2;

function inWords(policy, routes) {
  const led = routes.map(([name, { targets }]) => {
    const servers = targets === null ? "servers that are not known yet" : list(targets.map(({ endpoint, address }) => endpoint ?? address));
    return `${name} leads to ${servers}`;
  });
  return `${led.join("; ") || "There is no route yet"}.`;
}

function edge(x1, y1, x2, y2, state, route) {
  const bend = (x2 - x1) / 2;
  const kind = state === "Served" ? (route === "rw" ? "writes" : "reads") : state === null ? "unknown" : "stands-in";
  return s("path", { class: `edge ${kind}`, d: `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}` });
}

function replication(policy, right, middle) {
  const from = policy.endpoints.find((server) => server.id === policy.writePrimary && server.role === "Primary");
  if (!from) return [];
  const standbys = policy.endpoints.filter((server) => server.role === "Standby");
  return standbys.map((server) => {
    const [y1, y2] = [middle.get(from.id), middle.get(server.id)];
    const turn = y2 > y1 ? 6 : -6;
    const x = right + LANE - 12;
    return s("path", {
      class: "follows",
      d: `M${right} ${y1}H${x - 6}Q${x} ${y1} ${x} ${y1 + turn}V${y2 - turn}Q${x} ${y2} ${x - 6} ${y2}H${right + 3}M${right + 9} ${y2 - 4}L${right + 3} ${y2}L${right + 9} ${y2 + 4}`,
    });
  });
}

function routeBox(name, route, { y, width, isNarrow }) {
  const state = route.targets?.length === 0 || route.state === "Empty" ? "bad" : route.state === "Served" ? "good" : route.state ? "warn" : "unknown";
  const word = route.state ?? "not written";
  const number = route.targets?.length ?? null;
  const more = number === null || isNarrow ? word : `${word}, ${number} ${number === 1 ? "server" : "servers"}`;
  return s("g", { class: "route", "data-state": state },
    s("rect", { x: 1, y, width: width - 1, height: ROUTE_HEIGHT, rx: 10 }),
    s("text", { x: 14, y: y + 21, class: "name" }, cut(name, width - 24, 8.2)),
    s("text", { x: 14, y: y + 39, class: "more" }, cut(more, width - 20, 6.6)));
}

function box(server, { x, y, width, height, isMany, isNarrow }, policy, figures) {
  const isWriter = server.id === policy.writePrimary;
  const name = nameOf(server);
  const why = server.reason ? spaced(server.reason) : "Not judged yet";
  const text = s("text", { x: x + 30, y: y + 56, class: "more" });
  figures.set(server.id, text);
  const pill = isWriter ? "writes" : server.role === "Standby" ? "standby" : server.role === "Primary" ? "writable" : "";
  const room = width - 44 - (pill ? pill.length * 7 + 16 : 0);
  const group = s("g", { class: "server", "data-state": stateOf(server) },
    s("title", {}, server.means ?? why),
    s("rect", { x, y, width, height, rx: 10 }),
    s("circle", { class: "dot", cx: x + 16, cy: y + (isMany ? 15 : 17), r: 5 }));
  if (isMany) {
    text.setAttribute("y", y + 19);
    text.setAttribute("x", x + width - 12);
    text.setAttribute("text-anchor", "end");
    group.append(s("text", { x: x + 30, y: y + 19, class: "name" }, cut(isWriter ? `${name} · writes` : name, isNarrow ? room / 2 : room - 190, 7.8)));
    if (!isNarrow) group.append(text);
    return group;
  }
  group.append(
    s("text", { x: x + 30, y: y + 22, class: "name" }, cut(name, room, 7.8)),
    s("text", { x: x + 30, y: y + 40, class: "why" }, cut(why, width - 40, 6.8)),
    text);
  if (pill) group.append(s("text", { x: x + width - 14, y: y + 22, "text-anchor": "end", class: isWriter ? "pill writer" : "pill" }, pill));
  return group;
}

/** Text that fits: `letter` is the width of a letter, about. */
function cut(text, room, letter) {
  const most = Math.max(3, Math.floor(room / letter));
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
}
