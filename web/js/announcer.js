/** Tells a screen reader short, finished things: never the words of an answer as they trickle in. */
export class Announcer {
  #region;

  /** @param {HTMLElement} region a polite live region */
  constructor(region) {
    this.#region = region;
  }

  say(text) {
    // The same words twice would be no change, and so not be read out.
    this.#region.textContent = this.#region.textContent === text ? `${text}\u00a0` : text;
  }
}
