// Signing in, registering, confirming an address.

import { byId, element } from "./dom.js";
import { asProblem } from "./problem.js";
import { problemCard } from "./problem-card.js";

const DEMO = { email: "demo@oprina.test", password: "speak-with-oprina" };

export class Account {
  #api;
  #signIn;
  #local;
  #view = byId("sign-in");

  /** @param {boolean} local whether the backend runs on this very machine, with its mail to be read at /local/ */
  constructor(api, signIn, local) {
    this.#api = api;
    this.#signIn = signIn;
    this.#local = local;
  }

  hide() {
    this.#view.hidden = true;
    this.#view.replaceChildren();
  }

  /** @param {string} [reason] why the person finds this form in place of what they were doing */
  askToSignIn(reason) {
    const email = emailField();
    const password = passwordField("current-password");
    const form = this.#form("Sign in", reason, [email, password], "Sign in", () =>
      this.#begin("/v1/auth/login", { email: valueOf(email), password: valueOf(password) }));
    form.after(switchLine("New here?", "Make an account", () => this.askToRegister()),
      switchLine("Forgot your password?", "Set a new one", () => this.askForReset(valueOf(email))));
    if (this.#local) form.append(this.#demo(email, password));
    focusFirst(form);
  }

  askToRegister() {
    const email = emailField();
    const name = field("What shall I call you? (optional)", { type: "text", name: "name", autocomplete: "given-name", maxlength: "255" });
    const password = passwordField("new-password");
    password.append(element("span", { class: "hint" }, "At least 8 characters."));
    const form = this.#form("Make an account", "", [email, name, password], "Make an account", async () => {
      await this.#register(valueOf(email), valueOf(password), valueOf(name).trim());
    });
    form.after(switchLine("Already have one?", "Sign in", () => this.askToSignIn()));
    focusFirst(form);
  }

  /** @param {string} [known] an address that was typed already */
  askForReset(known = "") {
    const email = emailField();
    email.querySelector("input").value = known;
    const form = this.#form("Set a new password", "", [email], "Send me a link", async () => {
      await this.#api.post("/v1/auth/password/forgot", { email: valueOf(email) });
      this.#resetSent(valueOf(email));
    });
    form.after(switchLine("Know it after all?", "Sign in", () => this.askToSignIn()));
    focusFirst(form);
  }

  /** Spends the token of a reset mail with a new password, which signs the person in. */
  askToReset(token) {
    const password = passwordField("new-password");
    password.append(element("span", { class: "hint" }, "At least 8 characters. You are signed out everywhere else."));
    const form = this.#form("Choose a new password", "", [password], "Set it and sign in", () =>
      this.#begin("/v1/auth/password/reset", { token, new_password: valueOf(password) }));
    form.after(switchLine("Is the link too old?", "Ask for another", () => this.askForReset()));
    focusFirst(form);
  }

  /** Spends the token of a verification mail, which signs the person in. */
  async verify(token) {
    this.#show(element("h2", {}, "Confirming your address…"));
    try {
      await this.#begin("/v1/auth/email/verify", { token });
    } catch (error) {
      this.askToSignIn();
      this.#view.prepend(problemCard(asProblem(error)));
    }
  }

  async #begin(path, body) {
    this.#signIn.begin(await this.#api.post(path, body));
  }

  async #register(email, password, name) {
    await this.#api.post("/v1/auth/register", {
      email, password,
      ...(name ? { preferred_name: name } : {}),
      timezone: Intl.DateTimeFormat().resolvedOptions().timeZone,
      language: navigator.language,
    });
    this.#askToReadMail(email);
  }

  #askToReadMail(email) {
    const again = element("button", { type: "button", class: "quiet" }, "Send the mail again");
    const outcome = element("p", { class: "hint", role: "status" });
    again.addEventListener("click", () => this.#resend(email, again, outcome));
    const title = element("h2", { tabindex: "-1" }, "Check your mail");
    this.#show(title,
      element("p", {}, `A link was sent to ${email}. It confirms the address and signs you in.`),
      this.#local ? this.#mailbox() : null,
      element("div", { class: "buttons" }, again,
        element("button", { type: "button", class: "quiet", onclick: () => this.askToSignIn() }, "Back to sign in")),
      outcome);
    title.focus();
  }

  #resetSent(email) {
    const title = element("h2", { tabindex: "-1" }, "Check your mail");
    this.#show(title,
      element("p", {}, `If ${email} has an account, a link to set a new password was sent there.`),
      this.#local ? this.#mailbox() : null,
      element("div", { class: "buttons" },
        element("button", { type: "button", class: "quiet", onclick: () => this.askToSignIn() }, "Back to sign in")));
    title.focus();
  }

  #mailbox() {
    return element("p", { class: "hint" }, "This backend runs on your own machine; its mail is kept in the ",
      element("a", { href: "/local/mail/read", target: "_blank", rel: "noopener" }, "local mailbox"), ".");
  }

  async #resend(email, button, outcome) {
    button.disabled = true;
    try {
      await this.#api.post("/v1/auth/email/resend", { email });
      outcome.textContent = "It was sent again.";
    } catch (error) {
      outcome.replaceChildren(problemCard(asProblem(error)));
    } finally {
      button.disabled = false;
    }
  }

  #form(title, reason, fields, action, submit) {
    const button = element("button", { class: "primary" }, action);
    const trouble = element("div", { class: "trouble" });
    const form = element("form", { class: "card-form" }, element("h2", {}, title),
      reason ? element("p", { class: "reason", role: "status" }, reason) : null, ...fields, trouble, button);
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      button.disabled = true;
      trouble.replaceChildren();
      try {
        await submit();
      } catch (error) {
        this.#explain(asProblem(error), trouble, form);
      } finally {
        button.disabled = false;
      }
    });
    this.#show(form);
    return form;
  }

  #explain(problem, trouble, form) {
    trouble.append(problemCard(problem, { retry: () => form.requestSubmit() }));
    if (problem.code !== "email_unverified") return;
    const email = form.querySelector("input[name=email]").value;
    trouble.append(element("button", { type: "button", class: "quiet", onclick: () => this.#askToReadMail(email) }, "Where is the mail?"));
  }

  #demo(email, password) {
    return element("button", { type: "button", class: "quiet", onclick: ({ target }) => {
      email.querySelector("input").value = DEMO.email;
      password.querySelector("input").value = DEMO.password;
      target.form.requestSubmit();
    } }, "Sign in as the demo person");
  }

  #show(...nodes) {
    this.#view.replaceChildren(...nodes.filter(Boolean),
      element("p", { class: "disclosure" }, "Oprina is an artificial intelligence, not a person. Its voice is synthetic and its answers can be wrong."));
    this.#view.hidden = false;
  }
}

function field(label, attributes) {
  return element("label", { class: "field" }, element("span", {}, label), element("input", attributes));
}

const emailField = () => field("E-mail", { type: "email", name: "email", autocomplete: "username", required: true, maxlength: "254" });
const passwordField = (autocomplete) => field("Password", {
  type: "password", name: "password", autocomplete, required: true, minlength: autocomplete === "new-password" ? "8" : null,
});
const valueOf = (label) => label.querySelector("input").value;
const focusFirst = (form) => form.querySelector("input").focus();

function switchLine(question, action, act) {
  return element("p", { class: "switch" }, `${question} `, element("button", { type: "button", class: "link", onclick: act }, action));
}
