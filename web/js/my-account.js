// Everything a person can see and decide about their own account, one section below the other.

import { Devices } from "./devices.js";
import { byId, element } from "./dom.js";
import { DeletionForm } from "./deletion.js";
import { passwordForm } from "./password-form.js";
import { ProfileForm } from "./profile-form.js";
import { UsageTable } from "./usage.js";

/** Events: "changed" (the profile), "left" (with the reason as detail: the person is no longer signed in). */
export class MyAccount extends EventTarget {
  #api;
  #signIn;
  #view = byId("my-account");

  constructor(api, signIn) {
    super();
    this.#api = api;
    this.#signIn = signIn;
  }

  /** @param {string} conversationId the open conversation, to go back to */
  open(conversationId) {
    const title = element("h2", { id: "my-account-title", tabindex: "-1" }, "Your account");
    const profile = new ProfileForm(this.#api, this.#signIn, () => this.dispatchEvent(new Event("changed")));
    const devices = new Devices(this.#api, () => this.#left("asked"));
    const usage = new UsageTable(this.#api);
    const deletion = new DeletionForm(this.#api, this.#signIn.user, () => this.#left("deleted"));
    this.#view.replaceChildren(
      element("p", {}, element("a", { href: conversationId ? `#c=${conversationId}` : "#" }, "Back to the conversation")),
      title,
      section("Profile", "What the assistant calls you and keeps in mind. An empty field is forgotten.", profile.node),
      section("Password", "Setting a new one signs out every other device.", passwordForm(this.#api, this.#signIn)),
      section("Devices", "Where you are signed in.", devices.node),
      section("Usage", "What you used in the last 30 days, and what it cost the people who run this.", usage.node),
      section("Delete the account", "", deletion.node));
    this.#view.hidden = false;
    title.focus();
    profile.load();
    devices.load();
    usage.load();
  }

  close() {
    this.#view.hidden = true;
    this.#view.replaceChildren();
  }

  #left(reason) {
    this.dispatchEvent(new CustomEvent("left", { detail: reason }));
  }
}

function section(title, lead, ...content) {
  const heading = element("h3", {}, title);
  return element("section", { class: "panel", "aria-label": title }, heading, lead ? element("p", { class: "note" }, lead) : null, ...content);
}
