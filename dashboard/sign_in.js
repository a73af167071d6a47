// Asks for a token.

import { h } from "./dom.js";

/** `problem`: why the last token did not do; `done(token)`: one was given. `isLocal`: the page of the plugin. */
export function signIn(root, { problem, isLocal, done }) {
  const field = h("input", {
    id: "token", type: "password", autocomplete: "one-time-code", spellcheck: "false", required: true,
    "aria-describedby": "token-help",
  });
  const submit = (event) => {
    event.preventDefault();
    const token = field.value.replace(/^bearer\s+/i, "").replace(/\s+/g, "");
    field.value = "";
    if (token) done(token);
  };
  const help = isLocal
    ? "The secret is the part of the printed URL behind #secret=. It is another one each time that the command starts."
    : "The page stays with your own rights, and forgets the token when it is closed or loaded again. A token that lasts an hour:";
  root.replaceChildren(h("form", { class: "sign-in card", on: { submit } },
    h("h1", {}, "See what your routing does"),
    problem ? h("p", { class: "notice bad", role: "alert" }, h("strong", {}, "The server refused the token. "), problem.message) : null,
    h("label", { for: "token" }, isLocal ? "Secret of kubectl distributary dashboard" : "Token of the Kubernetes API server"),
    field,
    h("div", { id: "token-help", class: "muted" },
      h("p", {}, help),
      isLocal ? null : h("pre", { tabindex: "0" }, "kubectl create token NAME --namespace NAMESPACE")),
    h("button", { type: "submit", class: "main" }, "Sign in")));
  field.focus();
  return { close() {}, pause() {}, resume() {} };
}
