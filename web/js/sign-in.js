import { networkProblem, problemFromResponse } from "./problem.js";

// The access token lives in memory only. The refresh token is in sessionStorage so that a reload does not sign the
// person out, while closing the tab does, and no other site, tab or later visitor of this browser finds it (which
// localStorage would allow). It is worth little to a thief: it is rotated at each use, and a replay ends the sign-in.
const STORAGE_KEY = "oprina.refresh";
const CHANNEL = "oprina.sign-in";
// A stream must not begin with a token that dies while the upload is under way.
const EARLY_MS = 30_000;

/** The tokens of one sign-in. Events: "begun" (a person is signed in), "ended" (with {reason} as detail). */
export class SignIn extends EventTarget {
  user = null;
  #access = "";
  #expiresAt = 0;
  #refreshing = null;
  #channel = "BroadcastChannel" in window ? new BroadcastChannel(CHANNEL) : null;

  constructor() {
    super();
    // A duplicated tab starts with a copy of the refresh token. Whoever rotates it tells the others, or they would
    // replay the old one and end the sign-in for both.
    this.#channel?.addEventListener("message", ({ data }) => {
      if (data.replaced && data.replaced === this.#refresh) this.#keep(data.tokens);
    });
  }

  get #refresh() {
    return sessionStorage.getItem(STORAGE_KEY) || "";
  }

  get possible() {
    return Boolean(this.#refresh);
  }

  /** Takes the answer of login, refresh or verification. */
  begin(tokens) {
    this.#keep(tokens);
    this.dispatchEvent(new Event("begun"));
  }

  #keep(tokens) {
    this.user = tokens.user;
    this.#access = tokens.access_token;
    this.#expiresAt = Date.now() + tokens.expires_in * 1000;
    sessionStorage.setItem(STORAGE_KEY, tokens.refresh_token);
  }

  end(reason) {
    this.user = null;
    this.#access = "";
    this.#expiresAt = 0;
    sessionStorage.removeItem(STORAGE_KEY);
    this.dispatchEvent(new CustomEvent("ended", { detail: { reason } }));
  }

  /** An access token that is good for a while; empty when nobody is signed in. */
  async accessToken() {
    if (this.#access && Date.now() < this.#expiresAt - EARLY_MS) return this.#access;
    if (this.possible) await this.refresh(this.#access);
    return this.#access;
  }

  /**
   * Rotates the tokens, once for however many requests found `refused` to be no longer good.
   * @throws {import("./problem.js").Problem}
   */
  refresh(refused) {
    if (refused && refused !== this.#access) return Promise.resolve();
    this.#refreshing ??= this.#alone(() => this.#rotate(refused)).finally(() => {
      this.#refreshing = null;
    });
    return this.#refreshing;
  }

  #alone(work) {
    return navigator.locks ? navigator.locks.request(CHANNEL, work) : work();
  }

  async #rotate(refused) {
    const replaced = this.#refresh;
    if (!replaced) return;
    // While we waited for the lock, another tab may have rotated for us.
    if (this.#access && this.#access !== refused && Date.now() < this.#expiresAt - EARLY_MS) return;
    const response = await this.#post(replaced);
    if (!response.ok) {
      const problem = await problemFromResponse(response);
      if (problem.status === 401) this.end("expired");
      throw problem;
    }
    const tokens = await response.json();
    this.#keep(tokens);
    this.#channel?.postMessage({ replaced, tokens });
  }

  async #post(token) {
    try {
      return await fetch("/v1/auth/refresh", {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ refresh_token: token }),
        signal: AbortSignal.timeout(20_000),
      });
    } catch {
      throw networkProblem();
    }
  }
}
