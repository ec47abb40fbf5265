// Signing in with Google. The page leaves for Google and comes back; a secret that never leaves this tab binds the two,
// so that nobody can finish a sign-in that was begun elsewhere, or be led into somebody else's.

import { Problem } from "./problem.js";

const SECRET_KEY = "oprina.google-secret";
const SAID = {
  access_denied: {
    title: "Google was not allowed",
    detail: "You declined at Google, so nothing was shared and nobody was signed in.",
  },
  state_invalid: {
    title: "This sign-in has ended",
    detail: "It took too long, has been used, or was not begun by this page. Begin again.",
  },
};

/** Where to send this tab for the person to decide. Throws Problem. */
export async function begin(api) {
  const secret = base64url(crypto.getRandomValues(new Uint8Array(32)));
  const { url } = await api.get("/v1/auth/google/start", { browser_secret_hash: await sha256(secret) });
  sessionStorage.setItem(SECRET_KEY, secret);
  return url;
}

/**
 * The tokens of whoever came back. The secret is kept only for a try that may succeed later. Throws Problem.
 * @param {URLSearchParams} said what the callback left behind the #
 */
export async function finish(api, said) {
  const secret = sessionStorage.getItem(SECRET_KEY);
  try {
    if (said.has("error") || !secret) throw told(said.get("error") || "state_invalid");
    const tokens = await api.post("/v1/auth/google/complete", {
      state: said.get("state") || "", code: said.get("code") || "", browser_secret: secret,
    });
    sessionStorage.removeItem(SECRET_KEY);
    return tokens;
  } catch (error) {
    if (!error.retryable) sessionStorage.removeItem(SECRET_KEY);
    throw error;
  }
}

function told(error) {
  const words = SAID[error] || {
    title: "Signing in with Google did not work",
    detail: "Google sent you back without what is needed. Begin again.",
  };
  return new Problem({ ...words, code: error });
}

async function sha256(text) {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

function base64url(bytes) {
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}
