// From pressing the button to a finished recording: what the person sees and hears about it meanwhile.

import { byId } from "./dom.js";
import { LIMIT_MS, WARN_MS } from "./microphone.js";
import { Problem } from "./problem.js";
import { TalkButton } from "./talk-button.js";

// Shorter than any word: the button was tapped by who did not know that it is to be held.
const TAP_MS = 350;

const KEYBOARD = matchMedia("(hover: hover)").matches;

const REFUSALS = {
  NotAllowedError: "The browser may not use the microphone. Allow it in the address bar, or type instead.",
  NotFoundError: "There is no microphone. Connect one, or type instead.",
  NotReadableError: "Another program holds the microphone. Close it, or choose another microphone.",
};

/** Events: "begun" (the person starts to talk), "said" (detail: {blob, endedAt}), "problem" (detail: a Problem). */
export class Talk extends EventTarget {
  #microphone;
  #announcer;
  #key;
  #button = byId("talk");
  #label = byId("talk-label");
  #hint = byId("talk-hint");
  #level = byId("level").firstElementChild;
  #warned = false;

  constructor(microphone, announcer) {
    super();
    this.#microphone = microphone;
    this.#announcer = announcer;
    this.#key = new TalkButton(this.#button);
    this.#key.addEventListener("press", () => this.#begin());
    this.#key.addEventListener("release", () => this.#finish());
    this.#key.addEventListener("discard", () => this.#discard());
    microphone.addEventListener("level", ({ detail }) => this.#level.style.setProperty("--level", detail.toFixed(3)));
    microphone.addEventListener("time", ({ detail }) => this.#showTime(detail));
    microphone.addEventListener("limit", () => this.#limit());
    if (!microphone.supported) this.#disable();
    this.#rest();
  }

  get listening() {
    return this.#key.down || this.#microphone.recording;
  }

  set toggleMode(on) {
    this.#key.toggleMode = on;
    this.#rest();
  }

  async #begin() {
    this.#warned = false;
    this.#hint.textContent = "Opening the microphone…";
    this.dispatchEvent(new Event("begun"));
    try {
      await this.#microphone.start();
    } catch (error) {
      this.#key.reset();
      this.#rest();
      this.#refused(error);
      return;
    }
    // The permission question takes the finger off the button.
    if (this.#key.down) this.#showListening();
    else this.#discard("The microphone is ready. Hold the button while you speak.");
  }

  async #finish() {
    if (!this.#microphone.recording) return;
    const { blob, milliseconds, endedAt } = await this.#microphone.finish();
    if (milliseconds < TAP_MS) return this.#rest("Hold the button while you speak.");
    this.#rest();
    this.dispatchEvent(new CustomEvent("said", { detail: { blob, endedAt } }));
  }

  #discard(hint = "Forgotten. Nothing was sent.") {
    this.#microphone.cancel();
    this.#rest(hint);
  }

  #limit() {
    if (!this.#microphone.recording) return;
    this.#key.reset();
    this.#announcer.say("One minute is the limit. What you said was sent.");
    this.#finish();
  }

  #showListening() {
    this.#button.classList.add("listening");
    this.#button.setAttribute("aria-pressed", "true");
    this.#label.textContent = this.#key.toggleMode ? "Press to send" : "Release to send";
    this.#showTime(0);
  }

  #showTime(elapsed) {
    const seconds = Math.min(Math.floor(elapsed / 1000), LIMIT_MS / 1000);
    const left = LIMIT_MS / 1000 - seconds;
    const late = elapsed >= WARN_MS;
    this.#hint.textContent = late ? `${seconds} s. It is sent in ${left} s.` : `Listening, ${seconds} s. Esc forgets it.`;
    this.#hint.classList.toggle("late", late);
    if (late && !this.#warned) {
      this.#warned = true;
      this.#announcer.say("Ten seconds left.");
    }
  }

  #rest(hint) {
    const toggle = this.#key.toggleMode;
    this.#button.classList.remove("listening");
    this.#button.setAttribute("aria-pressed", "false");
    this.#hint.classList.remove("late");
    this.#label.textContent = toggle ? "Press to talk" : "Hold to talk";
    if (this.#button.disabled) return;
    this.#hint.textContent = hint || (KEYBOARD ? (toggle ? "Or press the space bar." : "Or hold the space bar.") : "");
  }

  #disable() {
    this.#button.disabled = true;
    this.#hint.textContent = window.isSecureContext
      ? "This browser cannot record. Type instead."
      : "Browsers record only on a secure address (https, or this very machine). Type instead.";
  }

  #refused(error) {
    this.dispatchEvent(new CustomEvent("problem", {
      detail: new Problem({
        title: "No microphone",
        detail: REFUSALS[error.name] ?? `The microphone could not be opened: ${error.message}`,
        code: "microphone_refused",
      }),
    }));
  }
}
