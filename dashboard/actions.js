// Changes of a policy, with the rights of whoever looks. The server refuses what they may not; the page says so in its words.

import { h, mark, say } from "./dom.js";
import { policyPath } from "./session.js";

export function actions(session, page, key) {
  const path = `/api/db/replicas?policy=${encodeURIComponent(key.namespace)}/${encodeURIComponent(key.name)}`;
  const dialog = h("dialog", { "aria-labelledby": "dialog-title" });
  dialog.addEventListener("close", () => dialog.replaceChildren());
  const why = h("p", { class: "muted may-not", hidden: true });
  const check = h("button", { type: "button", hidden: true, on: { click: () => atOnce({ action: "force_health_check" }, "A check of every server was asked for.") } }, "Check now");
  const add = h("button", { type: "button", hidden: true, on: { click: () => open(additionForm()) } }, "Add a replica");
  const shown = new Set();
  let may = false;
  let isAnswered = false;
  let isAsking = false;

  const send = (change) => session.post(path, change);

  async function atOnce(change, done) {
    try {
      await send(change);
      page.say(done);
    } catch (problem) {
      open({ title: "The change was refused", problem, fields: [] });
    }
  }

  /** Asks what the caller may do, without doing it. */
  async function ask() {
    if (isAsking) return;
    isAsking = true;
    try {
      const rights = await session.get(`${policyPath(key)}/rights`);
      may = rights.change;
      isAnswered = true;
      say(why, may ? "" : `You may look, and change nothing: ${rights.message}.`);
    } catch {
      // The policy itself cannot be read then either, and the page says why.
      return;
    } finally {
      isAsking = false;
    }
    why.hidden = may;
    check.hidden = !may;
    add.hidden = !may;
    for (const buttons of shown) buttons.draw();
  }

  function open({ title, text, fields, submit, confirm, change, done, problem }) {
    const failed = h("div", { class: "slot" });
    const force = h("input", { type: "checkbox", id: "force" });
    const tell = (problem) => {
      const isManaged = problem.reason === "ManagedByGitOps";
      failed.replaceChildren(h("div", { class: "notice bad", role: "alert" },
        h("p", {}, h("strong", {}, `${problem.code === 403 ? "You may not do this" : problem.reason}. `), problem.message),
        isManaged ? h("p", { class: "check" }, force, h("label", { for: "force" }, "Change it all the same; it may be changed back")) : null));
    };
    const button = submit ? h("button", { type: "submit", class: confirm ?? "main" }, submit) : null;
    const act = async (event) => {
      event.preventDefault();
      button.disabled = true;
      try {
        const { notes } = await send({ ...change(form), ...(force.checked ? { force: true } : {}) });
        dialog.close();
        page.say(done, notes);
      } catch (problem) {
        tell(problem);
      }
      button.disabled = false;
    };
    const form = h("form", { on: { submit: act } },
      h("h2", { id: "dialog-title" }, title), text ? h("p", {}, text) : null, fields, failed,
      h("div", { class: "buttons" }, button, h("button", { type: "button", on: { click: () => dialog.close() } }, submit ? "Cancel" : "Close")));
    if (problem) tell(problem);
    dialog.replaceChildren(form);
    dialog.showModal();
  }

  function of(id) {
    const weight = h("button", { type: "button", on: { click: () => open(weightForm(server)) } }, "Weight");
    const drain = h("button", { type: "button", on: { click: () => open(drainForm(server)) } }, "Drain");
    const disable = h("button", { type: "button", on: { click: () => open(turnForm(server, false)) } }, "Disable");
    const enable = h("button", { type: "button", on: { click: () => open(turnForm(server, true)) } }, "Enable");
    const remove = h("button", { type: "button", class: "danger", on: { click: () => open(removalForm(server)) } }, "Remove");
    const node = h("div", { class: "buttons", role: "group" }, weight, drain, disable, enable, remove);
    let server = { id };
    const buttons = {
      node,
      draw() {
        node.hidden = !may || server.isDeclaredPrimary !== false;
        const name = server.name ?? server.id;
        mark(node, "aria-label", `Change ${name}`);
        drain.hidden = server.state !== "Active";
        // One that drains may go either way.
        disable.hidden = server.state === "Disabled";
        enable.hidden = server.state === "Active";
      },
      show(next) {
        server = next;
        shown.add(buttons);
        buttons.draw();
      },
    };
    return buttons;
  }
  return {
    check, dialog, of, ask,
    /** Asks until there was an answer. */
    askAgain: () => { if (!isAnswered) ask(); },
    tools: h("div", { class: "tools" }, add, why),
  };
}

const field = (id, label, attributes, help) => h("div", { class: "field" },
  h("label", { for: id }, label), h("input", { id, name: id, autocomplete: "off", spellcheck: "false", ...attributes }), help ? h("small", { class: "muted" }, help) : null);

function weightForm({ id, weight }) {
  return {
    title: `Weight of ${id}`,
    text: "Its share of the reads under the strategy Weighted, beside those of the others; 0 takes it out of the routes for reads.",
    fields: [field("weight", "Weight, 0 to 1000", { type: "number", min: 0, max: 1000, required: true, value: weight })],
    submit: "Set the weight",
    change: (form) => ({ action: "update_replica", replicaConfig: { id, weight: form.elements.weight.valueAsNumber } }),
    done: `The weight of ${id} was changed.`,
  };
}

function drainForm({ id }) {
  return {
    title: `Drain ${id}`,
    text: "It leaves every route and is checked on. Sessions that are open stay until their clients end them, and are counted.",
    fields: [],
    submit: "Drain",
    change: () => ({ action: "update_replica", replicaConfig: { id, state: "Draining" } }),
    done: `${id} was told to drain.`,
  };
}

function turnForm({ id }, enabled) {
  return {
    title: enabled ? `Enable ${id}` : `Disable ${id}`,
    text: enabled
      ? "It gets reads again once its checks are good."
      : "It leaves every route and is not checked any more. Sessions that are open stay until their clients end them.",
    fields: [],
    submit: enabled ? "Enable" : "Disable",
    change: () => ({ action: "update_replica", replicaConfig: { id, enabled } }),
    done: enabled ? `${id} was enabled.` : `${id} was disabled.`,
  };
}

function removalForm({ id }) {
  return {
    title: `Remove ${id}`,
    text: "The policy does not declare it any more. A Secret that was made with it by this page is deleted.",
    fields: [field("again", `Write ${id} to confirm`, { required: true, pattern: id })],
    submit: "Remove",
    confirm: "danger",
    change: () => ({ action: "remove_replica", replicaId: id }),
    done: `${id} was removed.`,
  };
}

function additionForm() {
  return {
    title: "Add a replica",
    fields: [
      field("id", "Id", { required: true, maxlength: 40, pattern: "[a-z0-9]([a-z0-9\\-]*[a-z0-9])?" }, "Lower-case letters, digits and hyphens."),
      field("url", "URL", { required: true, type: "password", autocomplete: "one-time-code", placeholder: "postgresql://HOST:5432/DATABASE" },
        "With a password it becomes a Secret; without one the login of the policy is used."),
      field("name", "Name for people", { maxlength: 63 }),
      field("region", "Region", { maxlength: 63 }),
      field("weight", "Weight, 0 to 1000", { type: "number", min: 0, max: 1000, required: true, value: 1 }),
      h("p", { class: "check" }, h("input", { type: "checkbox", id: "enabled", name: "enabled" }), h("label", { for: "enabled" }, "Enable it at once")),
    ],
    submit: "Add",
    change: ({ elements }) => ({
      action: "add_replica",
      replicaConfig: {
        id: elements.id.value.trim(),
        url: elements.url.value.trim(),
        weight: elements.weight.valueAsNumber,
        enabled: elements.enabled.checked,
        ...(elements.name.value.trim() ? { name: elements.name.value.trim() } : {}),
        ...(elements.region.value.trim() ? { region: elements.region.value.trim() } : {}),
      },
    }),
    done: "The replica was added.",
  };
}
