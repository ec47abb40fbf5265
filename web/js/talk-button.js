// One button, three ways to use it: hold it, hold the space bar, or (for who cannot hold) press once and press again.

const EDITABLE = "input, textarea, select, button, a, summary, [contenteditable], dialog";

/** Events: "press" (begin to listen), "release" (send what was said), "discard" (forget it). */
export class TalkButton extends EventTarget {
  toggleMode = false;
  #button;
  #down = false;
  #quietUntil = 0;

  /** @param {HTMLElement} button */
  constructor(button) {
    super();
    this.#button = button;
    button.addEventListener("pointerdown", (event) => this.#pointerDown(event));
    button.addEventListener("pointerup", () => this.#lift());
    button.addEventListener("pointercancel", () => this.#discard());
    button.addEventListener("contextmenu", (event) => event.preventDefault());
    button.addEventListener("click", (event) => this.#click(event));
    document.addEventListener("keydown", (event) => this.#keyDown(event));
    document.addEventListener("keyup", (event) => this.#keyUp(event));
    window.addEventListener("blur", () => this.#lift()); // a key let go in another window is never reported here
  }

  get down() {
    return this.#down;
  }

  /** The owner ended it: the limit was reached, or the microphone was refused. */
  reset() {
    this.#down = false;
  }

  #pointerDown(event) {
    if (this.toggleMode || event.button !== 0) return;
    this.#button.setPointerCapture(event.pointerId);
    this.#press();
  }

  #lift() {
    if (!this.toggleMode) this.#letGo();
  }

  // In hold mode the pointer and the keys have done it all by the time "click" comes; a click that neither began comes
  // from a screen reader or voice control, which cannot hold: for them it toggles.
  #click(event) {
    if (this.toggleMode || (event.detail === 0 && performance.now() > this.#quietUntil)) {
      if (this.#down) this.#letGo();
      else this.#press();
    }
  }

  #keyDown(event) {
    if (event.key === "Escape" && this.#down) {
      event.preventDefault();
      this.#discard();
    } else if (this.#isTalkKey(event)) {
      event.preventDefault();
      if (event.repeat) return;
      if (!this.toggleMode) this.#press();
      else if (this.#down) this.#letGo();
      else this.#press();
    }
  }

  #keyUp(event) {
    if (!this.#isTalkKey(event)) return;
    event.preventDefault();
    this.#quietUntil = performance.now() + 100;
    this.#lift();
  }

  #isTalkKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || this.#button.disabled || !this.#button.checkVisibility()) return false;
    const onButton = event.target === this.#button;
    if (onButton) return event.key === " " || event.key === "Enter";
    if (event.key !== " ") return false;
    return this.#down || !(event.target instanceof Element && event.target.closest(EDITABLE));
  }

  #press() {
    if (this.#down || this.#button.disabled) return;
    this.#down = true;
    this.dispatchEvent(new Event("press"));
  }

  #letGo() {
    if (!this.#down) return;
    this.#down = false;
    this.dispatchEvent(new Event("release"));
  }

  #discard() {
    if (!this.#down) return;
    this.#down = false;
    this.dispatchEvent(new Event("discard"));
  }
}
