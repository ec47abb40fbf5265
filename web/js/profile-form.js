// The person's profile and preferences. What is emptied is cleared at the backend, not left as it was.

import { element } from "./dom.js";
import { field, form, valueOf } from "./forms.js";
import { asProblem } from "./problem.js";
import { problemCard } from "./problem-card.js";

const TEXT = [
  ["preferred_name", "What shall I call you?", { autocomplete: "given-name", maxlength: "255" }],
  ["full_name", "Full name", { autocomplete: "name", maxlength: "255" }],
  ["display_name", "Name shown to others", { autocomplete: "nickname", maxlength: "255" }],
  ["work_type", "What you do", { autocomplete: "organization-title", maxlength: "100" }],
  ["avatar_url", "Address of a picture", { type: "url", autocomplete: "photo", maxlength: "2048" }],
  ["language", "Language", { maxlength: "35", placeholder: "such as en or pt-BR" }],
];

export class ProfileForm {
  node = element("div", {}, element("p", { class: "note", role: "status" }, "Loading…"));
  #api;
  #signIn;
  #changed;
  #profile = {};

  constructor(api, signIn, changed) {
    this.#api = api;
    this.#signIn = signIn;
    this.#changed = changed;
  }

  async load() {
    try {
      this.#profile = await this.#api.get("/v1/users/me");
      this.#show();
    } catch (error) {
      this.node.replaceChildren(problemCard(asProblem(error), { retry: () => this.load() }));
    }
  }

  #show() {
    const texts = TEXT.map(([name, label, attributes]) =>
      [name, field(label, { type: "text", name, value: this.#profile[name], ...attributes })]);
    const zone = zoneField(this.#profile.timezone);
    const wishes = wishesField(this.#profile.ai_preferences);
    const controls = new Map([...texts, ["timezone", zone], ["ai_preferences", wishes]]);
    const saved = element("p", { class: "note", role: "status" });
    const address = field("E-mail", { type: "email", value: this.#profile.email, readonly: true });
    const made = form({
      fields: [address, ...controls.values()],
      action: "Save",
      submit: async () => {
        saved.textContent = "";
        const changes = this.#changes(controls);
        if (Object.keys(changes).length) {
          this.#profile = await this.#api.patch("/v1/users/me", changes);
          this.#signIn.user = this.#profile;
          this.#changed();
        }
        saved.textContent = "Saved.";
      },
    });
    made.append(saved);
    this.node.replaceChildren(made);
  }

  #changes(controls) {
    const changes = {};
    for (const [name, control] of controls) {
      const value = valueOf(control).trim() || null;
      if (value !== (this.#profile[name] ?? null)) changes[name] = value;
    }
    return changes;
  }
}

function zoneField(chosen) {
  const zones = Intl.supportedValuesOf("timeZone");
  const known = chosen && !zones.includes(chosen) ? [chosen, ...zones] : zones;
  const select = element("select", { name: "timezone" }, element("option", { value: "" }, "None (UTC)"),
    ...known.map((zone) => element("option", { value: zone, selected: zone === chosen }, zone)));
  return element("label", { class: "field" }, element("span", {}, "Time zone"), select);
}

function wishesField(wishes) {
  return element("label", { class: "field" }, element("span", {}, "How the assistant should speak and behave"),
    element("textarea", { name: "ai_preferences", rows: "3", maxlength: "1000" }, wishes ?? ""));
}
