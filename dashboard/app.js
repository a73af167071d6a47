// The page: who looks, at what, and whether anybody sees it.
//
// #/                     all policies
// #/NAMESPACE            the policies of a namespace
// #/NAMESPACE/NAME       one policy

import { h, mark, say } from "./dom.js";
import { fleet } from "./fleet.js";
import { policy } from "./policy.js";
import { Session } from "./session.js";
import { signIn } from "./sign_in.js";
import { zoned } from "./words.js";

const main = document.getElementById("main");
const link = document.getElementById("link");
const told = document.getElementById("told");
const said = document.getElementById("said");
const signOut = document.getElementById("sign-out");

let session = null;
let view = null;
let wasRefused = null;
/** Whether `kubectl distributary dashboard` serves the page. */
const isLocal = document.documentElement.dataset.served === "locally";

/** The secret of a local server comes in the fragment, with a namespace to begin with, and leaves the address bar at once. */
function secretOfFragment() {
  const [, secret = null, namespace = ""] = /^#secret=([A-Za-z0-9_-]+)(?:&namespace=([\w.~:-]+))?$/.exec(location.hash) ?? [];
  if (secret) history.replaceState(null, "", `/#/${namespace}`);
  return secret;
}

function begin(token) {
  wasRefused = null;
  session = new Session(token, (problem) => {
    wasRefused = problem;
    leave();
  });
  show();
}

function leave() {
  session = null;
  show();
}

const page = {
  /** How the view hears of changes: Live, Polled, Waiting or Ended. */
  state(word, problem) {
    const text = { Live: "Live", Polled: "Every few seconds", Waiting: "Connecting again", Ended: "Not live" }[word] ?? "";
    // Why an answer was refused helps; that there is none is no more than the word says.
    const why = word === "Waiting" && problem?.code ? `: ${problem.message}` : "";
    say(link, text + why);
    mark(link, "data-state", word || null);
    mark(link, "title", problem?.message ?? null);
  },
  /** Which Pod of the operator answered. */
  origin({ answeredBy, leader, observedAt }) {
    const role = leader === null ? "" : leader === answeredBy ? " (the leader)" : ` (the leader is ${leader})`;
    say(told, `Answered by ${answeredBy}${role} at ${zoned(observedAt)}.`);
  },
  /** Tells a person what became of an act. */
  say(text, notes = []) {
    const all = [text, ...notes].join(" ");
    said.replaceChildren(h("p", {}, all));
    setTimeout(() => { if (said.textContent === all) said.replaceChildren(); }, notes.length ? 60_000 : 8000);
  },
};

function show() {
  view?.close();
  page.state("", null);
  say(told, "");
  signOut.hidden = session === null;
  main.replaceChildren();
  if (!session) {
    document.title = "Sign in – Distributary";
    view = signIn(main, { problem: wasRefused, isLocal, done: begin });
    return;
  }
  const [namespace, name] = location.hash.replace(/^#\/?/, "").split("/").map(decode);
  document.title = `${[namespace, name].filter(Boolean).join("/") || "Policies"} – Distributary`;
  view = name
    ? policy(main, session, page, { namespace, name })
    : fleet(main, session, page, { namespace: namespace || null });
  if (document.hidden) view.pause();
}

function decode(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) view.pause();
  else view.resume();
});
addEventListener("hashchange", () => {
  const secret = secretOfFragment();
  if (secret) return begin(secret);
  show();
  main.focus({ preventScroll: true });
  scrollTo(0, 0);
});
document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
signOut.addEventListener("click", leave);

const secret = secretOfFragment();
if (secret) begin(secret);
else show();
