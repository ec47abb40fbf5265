// Signing in, registering, confirming an address.

import { byId, element } from "./dom.js";
import { emailField, field, focusFirst, form, passwordField, valueOf } from "./forms.js";
import * as google from "./google-sign-in.js";
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
    const asked = this.#form("Sign in", reason, [email, password], "Sign in", () =>
      this.#begin("/v1/auth/login", { email: valueOf(email), password: valueOf(password) }));
    asked.after(
      switchLine("New here?", "Make an account", () => this.askToRegister()),
      switchLine("No way in?", "Forgot your password?", () => this.askForAddress(valueOf(email))));
    asked.append(this.#google(asked));
    if (this.#local) asked.append(this.#demo(email, password));
    focusFirst(asked);
  }

  askToRegister() {
    const email = emailField();
    const name = field("What shall I call you? (optional)", { type: "text", name: "name", autocomplete: "given-name", maxlength: "255" });
    const password = passwordField("new-password");
    const asked = this.#form("Make an account", "", [email, name, password], "Make an account", async () => {
      await this.#register(valueOf(email), valueOf(password), valueOf(name).trim());
    });
    asked.after(switchLine("Already have one?", "Sign in", () => this.askToSignIn()));
    focusFirst(asked);
  }

  /** Asks for the address that a link to set a new password goes to. */
  askForAddress(known = "") {
    const email = emailField(known);
    const asked = this.#form("Set a new password", "A link goes to your address. It is good for an hour.", [email], "Send me a link", async () => {
      await this.#api.post("/v1/auth/password/forgot", { email: valueOf(email) });
      this.#tellOfMail(`If ${valueOf(email)} has an account here, a link to set a new password is on its way.`);
    });
    asked.after(switchLine("Remembered it?", "Sign in", () => this.askToSignIn()));
    focusFirst(asked);
  }

  /** Takes the new password that a link from a mail allows to set. It signs the person in. */
  askForNewPassword(token) {
    const password = passwordField("new-password", "New password");
    const asked = this.#form("Set a new password", "Every other device will be signed out.", [password], "Set it and sign in", () =>
      this.#begin("/v1/auth/password/reset", { token, new_password: valueOf(password) }));
    asked.after(switchLine("Link too old?", "Send me another one", () => this.askForAddress()));
    focusFirst(asked);
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

  /** Ends a sign-in that the person has decided about at Google. */
  async finishWithGoogle(said) {
    this.#show(element("h2", {}, "Signing you in…"));
    try {
      this.#signIn.begin(await google.finish(this.#api, said));
    } catch (error) {
      this.askToSignIn();
      this.#view.prepend(problemCard(asProblem(error), { retry: () => this.finishWithGoogle(said) }));
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
    this.#tellOfMail(`A link was sent to ${email}. It confirms the address and signs you in.`, again, outcome);
  }

  #tellOfMail(sentence, again = null, outcome = null) {
    const title = element("h2", { tabindex: "-1" }, "Check your mail");
    this.#show(title,
      element("p", { role: "status" }, sentence),
      this.#local ? element("p", { class: "hint" }, "This backend runs on your own machine; its mail is kept in the ",
        element("a", { href: "/local/mail/read", target: "_blank", rel: "noopener" }, "local mailbox"), ".") : null,
      element("div", { class: "buttons" }, again,
        element("button", { type: "button", class: "quiet", onclick: () => this.askToSignIn() }, "Back to sign in")),
      outcome);
    title.focus();
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
    const made = form({ title, reason, fields, action, submit, explain: (problem, trouble) => this.#explain(problem, trouble, made) });
    this.#show(made);
    return made;
  }

  #explain(problem, trouble, asked) {
    trouble.append(problemCard(problem, { retry: () => asked.requestSubmit() }));
    if (problem.code !== "email_unverified") return;
    const email = asked.querySelector("input[name=email]").value;
    trouble.append(element("button", { type: "button", class: "quiet", onclick: () => this.#askToReadMail(email) }, "Where is the mail?"));
  }

  #google(form) {
    const trouble = form.querySelector(".trouble");
    const button = element("button", { type: "button", onclick: async () => {
      button.disabled = true;
      trouble.replaceChildren();
      try {
        location.assign(await google.begin(this.#api));
      } catch (error) {
        trouble.append(problemCard(asProblem(error), { retry: () => button.click() }));
      } finally {
        button.disabled = false;
      }
    } }, "Sign in with Google");
    return button;
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

function switchLine(question, action, act) {
  return element("p", { class: "switch" }, `${question} `, element("button", { type: "button", class: "link", onclick: act }, action));
}
