// Requests to the server of this page. A refusal is thrown as a `Problem`: what is wrong, and what to do.

export class Problem extends Error {
  constructor(status, title, detail = "", type = "") {
    super(detail || title);
    this.status = status; // 0: no answer at all
    this.title = title;
    this.detail = detail;
    this.type = type;
  }
}

const SILENT = "Is “hpbnet studio” still running? Start it again in the terminal: the page goes on by itself.";

async function problemOf(response) {
  const said = await response.json().catch(() => ({}));
  const text = (value) => (typeof value === "string" ? value : "");
  return new Problem(response.status, text(said.title) || `Error ${response.status}`, text(said.detail), text(said.type));
}

/** Send a request and return the answer.
 *  Throws: Problem where the server refuses or does not answer; AbortError where `signal` says so. */
export async function send(method, path, { json, body, signal, keepalive } = {}) {
  const headers = {};
  if (json !== undefined) headers["Content-Type"] = "application/json";
  else if (body !== undefined) headers["Content-Type"] = "application/octet-stream";
  let response;
  try {
    response = await fetch(path, {
      method, headers, signal, keepalive, cache: "no-store",
      body: json === undefined ? body : JSON.stringify(json),
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    const problem = new Problem(0, "The studio does not answer", SILENT);
    problem.isSilent = true;
    throw problem;
  }
  if (!response.ok) throw await problemOf(response);
  return response;
}

export const getJson = async (path) => (await send("GET", path)).json();

/** Read a header that holds percent-encoded or plain JSON; null where it is absent or damaged. */
export function jsonHeader(response, name) {
  const text = response.headers.get(name);
  if (text === null) return null;
  try {
    return JSON.parse(text.startsWith("%") ? decodeURIComponent(text) : text);
  } catch {
    return null;
  }
}
