// Changing the password, and the way for those who have none yet.

import { element } from "./dom.js";
import { form, passwordField, valueOf } from "./forms.js";

/** @returns {HTMLFormElement} */
export function passwordForm(api, signIn) {
  const current = passwordField("current-password", "Current password");
  const fresh = passwordField("new-password", "New password");
  const done = element("p", { class: "note", role: "status" });
  const made = form({
    fields: [current, fresh],
    action: "Change the password",
    submit: async () => {
      done.textContent = "";
      await api.post("/v1/auth/password/change", { current_password: valueOf(current), new_password: valueOf(fresh) });
      made.reset();
      done.textContent = "Changed. Every other device is signed out.";
    },
  });
  const link = element("button", { type: "button", class: "link" }, "Send me a link to set one");
  link.addEventListener("click", async () => {
    link.disabled = true;
    try {
      await api.post("/v1/auth/password/forgot", { email: signIn.user.email });
      done.textContent = "A link is on its way to your address. It is good for an hour.";
    } catch (error) {
      done.textContent = error.message;
    } finally {
      link.disabled = false;
    }
  });
  made.append(done, element("p", { class: "hint" }, "No password, or forgotten? ", link));
  return made;
}
