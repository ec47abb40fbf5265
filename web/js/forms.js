// Forms as all of the page has them: labelled fields, one button, and the trouble shown where it arose.

import { element } from "./dom.js";
import { asProblem } from "./problem.js";
import { problemCard } from "./problem-card.js";

export function field(label, attributes, hint) {
  return element("label", { class: "field" }, element("span", {}, label), element("input", attributes),
    hint ? element("span", { class: "hint" }, hint) : null);
}

export const emailField = (known = "") => field("E-mail", {
  type: "email", name: "email", autocomplete: "username", required: true, maxlength: "254", value: known || null,
});

/** @param {"current-password" | "new-password"} autocomplete */
export function passwordField(autocomplete, label = "Password") {
  const fresh = autocomplete === "new-password";
  const attributes = { type: "password", name: autocomplete, autocomplete, required: true, minlength: fresh ? "8" : null };
  return field(label, attributes, fresh ? "At least 8 characters." : null);
}

export const valueOf = (label) => label.querySelector("input, textarea, select").value;
export const focusFirst = (asked) => asked.querySelector("input").focus();

/**
 * A form that asks, waits for the answer, and shows what went wrong.
 * @param {{title?: string, reason?: string, fields: Node[], action: string, danger?: boolean,
 *   submit: () => Promise<void>, explain?: (problem: import("./problem.js").Problem, trouble: Element) => void}} parts
 */
export function form({ title, reason, fields, action, danger, submit, explain }) {
  const button = element("button", { class: danger ? "danger" : "primary" }, action);
  const trouble = element("div", { class: "trouble" });
  const made = element("form", { class: "card-form" }, title ? element("h2", {}, title) : null,
    reason ? element("p", { class: "reason", role: "status" }, reason) : null, ...fields, trouble, button);
  const show = explain ?? ((problem) => trouble.append(problemCard(problem, { retry: () => made.requestSubmit() })));
  made.addEventListener("submit", async (event) => {
    event.preventDefault();
    button.disabled = true;
    trouble.replaceChildren();
    try {
      await submit();
    } catch (error) {
      show(asProblem(error), trouble);
    } finally {
      button.disabled = false;
    }
  });
  return made;
}
