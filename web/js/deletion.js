// Deleting the account: what will be gone is said first, and nothing happens before the address is typed.

import { element } from "./dom.js";
import { field, form, valueOf } from "./forms.js";
import { Problem } from "./problem.js";

const GONE = [
  "Your profile, your password and all devices: you are signed out everywhere at once.",
  "Every conversation, with what you said and what was answered.",
  "Your usage records. What was written for the books stays without anything that names you.",
];

export class DeletionForm {
  /** @param {() => void} gone called when the account is deleted */
  constructor(api, user, gone) {
    const typed = field(`Type ${user.email} to confirm`, { type: "text", name: "confirmation", autocomplete: "off", required: true });
    this.node = element("div", {},
      element("p", {}, "This cannot be undone. It removes:"),
      element("ul", { class: "consequences" }, ...GONE.map((line) => element("li", {}, line))),
      form({
        fields: [typed],
        action: "Delete my account for good",
        danger: true,
        submit: async () => {
          if (valueOf(typed).trim().toLowerCase() !== user.email.toLowerCase()) {
            throw new Problem({ title: "Nothing was deleted", detail: "What you typed is not the address of this account." });
          }
          await api.delete("/v1/users/me");
          gone();
        },
      }));
  }
}
