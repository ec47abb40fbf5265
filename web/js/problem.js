// What went wrong, in the one form the interface uses (RFC 9457) and the page shows.

export class Problem extends Error {
  /** @param {Record<string, any>} document a problem document; `network` marks a lost connection */
  constructor(document) {
    super(document.detail || document.title || "Something went wrong");
    this.name = "Problem";
    this.document = document;
    this.title = document.title || "Something went wrong";
    this.detail = document.detail || "";
    this.code = document.code || "";
    this.status = document.status || 0;
    this.requestId = document.request_id || "";
    this.retryable = Boolean(document.retryable);
    this.retryAfterSeconds = Number(document.retry_after_seconds) || 0;
    this.fields = Array.isArray(document.errors) ? document.errors : [];
    this.network = Boolean(document.network);
  }
}

/** Reads a refused answer. Whatever stands between us and the backend may answer in its own form, or in none. */
export async function problemFromResponse(response) {
  let document = {};
  try {
    document = await response.json();
  } catch {
    document = { title: response.statusText || "The server refused", detail: `The server answered with ${response.status}.` };
  }
  return new Problem({
    ...document,
    status: document.status || response.status,
    request_id: document.request_id || response.headers.get("X-Request-Id"),
    retry_after_seconds: retryAfter(response.headers.get("Retry-After")) || document.retry_after_seconds,
    retryable: document.retryable ?? [429, 502, 503, 504].includes(response.status),
  });
}

/** Seconds to wait; the header holds seconds or a date. */
function retryAfter(value) {
  if (!value) return 0;
  const seconds = Number(value);
  if (Number.isFinite(seconds)) return Math.max(0, seconds);
  return Math.max(0, Math.ceil((Date.parse(value) - Date.now()) / 1000)) || 0;
}

export function networkProblem(detail) {
  const offline = navigator.onLine === false;
  return new Problem({
    title: offline ? "You are offline" : "The connection was lost",
    detail: detail || (offline
      ? "This device has no network. Nothing you typed is lost."
      : "The server could not be reached. Nothing you typed is lost."),
    code: "network_lost",
    network: true,
    retryable: true,
  });
}

/** Any thrown value as a Problem; an abort we asked for stays what it is. */
export function asProblem(error) {
  if (error instanceof Problem) return error;
  if (error instanceof TypeError || error?.name === "TimeoutError" || error?.name === "NetworkError") return networkProblem();
  console.error(error);
  return new Problem({ title: "The page failed", detail: String(error?.message || error), code: "page_failed" });
}

export const wasAborted = (error) => error?.name === "AbortError";
