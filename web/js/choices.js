// What a person chose about voice and microphone, kept in this browser. None of it is secret.

import { byId, element } from "./dom.js";

const STORAGE_KEY = "oprina.choices";
const DEFAULTS = { speak: true, toggleMode: false, voice: "", language: "", microphone: "" };

/** Events: "changed" (detail: the name of the choice). */
export class Choices extends EventTarget {
  #chosen = { ...DEFAULTS, ...stored() };
  #voices = [];
  #microphone;

  /** @param {import("./microphone.js").Microphone} microphone */
  constructor(microphone) {
    super();
    this.#microphone = microphone;
    this.#bind("speak", "speak", "checked");
    this.#bind("toggle-mode", "toggleMode", "checked");
    this.#bind("voice", "voice", "value");
    this.#bind("language", "language", "value");
    this.#bind("microphone", "microphone", "value");
    microphone.addEventListener("devices", () => this.listMicrophones());
    this.addEventListener("changed", ({ detail }) => detail === "language" && this.#fillVoices());
  }

  get speak() {
    return this.#chosen.speak;
  }

  get toggleMode() {
    return this.#chosen.toggleMode;
  }

  get microphone() {
    return this.#chosen.microphone;
  }

  /** @returns {import("./turn.js").Manner} */
  get manner() {
    return { speak: this.#chosen.speak, voice: byId("voice").value, language: byId("language").value };
  }

  /** Asks the backend what it can hear and speak. */
  async load(api) {
    const [voices, languages] = await Promise.all([api.get("/v1/voice/voices"), api.get("/v1/voice/languages")]);
    this.#voices = voices.items.filter((voice) => voice.streams);
    const heard = languages.items.filter((language) => language.hears);
    fill(byId("language"), "The one in my profile", this.#chosen.language,
      heard.map(({ code, speaks }) => ({ value: code, label: speaks ? languageName(code) : `${languageName(code)} (heard only)` })));
    this.#fillVoices();
  }

  async listMicrophones() {
    const devices = await this.#microphone.devices();
    fill(byId("microphone"), "The system's choice", this.#chosen.microphone,
      devices.map(({ id, label }) => ({ value: id, label })));
  }

  #fillVoices() {
    const language = byId("language").value;
    const fitting = this.#voices.filter((voice) => !language || sameTongue(voice.language, language));
    fill(byId("voice"), "The backend's choice", this.#chosen.voice,
      fitting.map(({ name, language: spoken, gender }) => ({ value: name, label: voiceName(name, spoken, gender) })));
  }

  #bind(id, name, property) {
    const control = byId(id);
    control[property] = this.#chosen[name];
    control.addEventListener("change", () => {
      this.#chosen[name] = control[property];
      localStorage.setItem(STORAGE_KEY, JSON.stringify(this.#chosen));
      this.dispatchEvent(new CustomEvent("changed", { detail: name }));
    });
  }
}

function stored() {
  try {
    return JSON.parse(localStorage.getItem(STORAGE_KEY) || "{}");
  } catch {
    return {};
  }
}

function fill(select, first, chosen, options) {
  select.replaceChildren(element("option", { value: "" }, first),
    ...options.map(({ value, label }) => element("option", { value }, label)));
  select.value = options.some(({ value }) => value === chosen) ? chosen : "";
}

const tongue = (code) => code.toLowerCase().split("-")[0].replace("cmn", "zh");
const sameTongue = (one, other) => tongue(one) === tongue(other);

function languageName(code) {
  try {
    return new Intl.DisplayNames(["en"], { type: "language" }).of(code);
  } catch {
    return code;
  }
}

// Google names a voice "en-US-Chirp3-HD-Kore": the last part is the speaker.
const voiceName = (name, language, gender) =>
  `${name.split("-").at(-1)} (${languageName(language)}${gender ? `, ${gender.toLowerCase()}` : ""})`;
