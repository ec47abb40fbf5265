import { networkProblem, problemFromResponse, wasAborted } from "./problem.js";

const PATIENCE_MS = 20_000;

/** The backend's interface: bearer tokens, problems, idempotency. Knows routes as strings only. */
export class Api {
  #signIn;

  /** @param {import("./sign-in.js").SignIn} signIn */
  constructor(signIn) {
    this.#signIn = signIn;
  }

  get = (path, query, signal) => this.json("GET", path, { query, signal });
  post = (path, body, options) => this.json("POST", path, { body: body ?? {}, ...options });
  patch = (path, body) => this.json("PATCH", path, { body });
  delete = (path) => this.json("DELETE", path, {});

  /** One JSON exchange; null for an empty answer. Throws Problem. */
  async json(method, path, { query, body, key, signal } = {}) {
    const headers = { Accept: "application/json" };
    if (key) headers["Idempotency-Key"] = key;
    if (body !== undefined) headers["Content-Type"] = "application/json";
    const limit = AbortSignal.timeout(PATIENCE_MS);
    const response = await this.send(method, withQuery(path, query), {
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: signal ? AbortSignal.any([signal, limit]) : limit,
    });
    const text = await response.text();
    return text ? JSON.parse(text) : null;
  }

  /**
   * One request, repeated once with fresh tokens when the access token was refused.
   * @returns {Promise<Response>} an answer below 400; anything else is thrown as a Problem
   */
  async send(method, url, { headers = {}, body, signal } = {}) {
    const token = await this.#signIn.accessToken();
    let response = await this.#fetch(method, url, headers, body, signal, token);
    if (response.status === 401 && token) {
      await this.#signIn.refresh(token);
      const fresh = await this.#signIn.accessToken();
      if (fresh) response = await this.#fetch(method, url, headers, body, signal, fresh);
    }
    if (response.ok) return response;
    const problem = await problemFromResponse(response);
    if (response.status === 401 && token) this.#signIn.end("expired");
    throw problem;
  }

  async #fetch(method, url, headers, body, signal, token) {
    const authorization = token ? { Authorization: `Bearer ${token}` } : {};
    try {
      return await fetch(url, { method, headers: { ...headers, ...authorization }, body, signal });
    } catch (error) {
      if (wasAborted(error)) throw error;
      throw networkProblem();
    }
  }
}

export function withQuery(path, query = {}) {
  const used = Object.entries(query).filter(([, value]) => value !== undefined && value !== null && value !== "");
  return used.length ? `${path}?${new URLSearchParams(used.map(([name, value]) => [name, String(value)]))}` : path;
}
