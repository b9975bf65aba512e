// What the server holds of the document. `sync` sends only what differs, and everything after a restart of the server.

import { Problem, send } from "./api.js";
import { drawHint } from "./hint.js";

const ROLES = ["portrait", "background", "mask"];

export class Session extends EventTarget {
  #id = null;
  #held = {}; // role -> the source (or strokes) that the server has
  #turn = Promise.resolve(); // ends when nothing is being sent
  facts = {}; // role -> {width, height, kind, notices} as the server said

  get path() {
    return `studio/sessions/${this.#id}`;
  }

  get isOpen() {
    return this.#id !== null;
  }

  get id() {
    return this.#id;
  }

  /** What the server holds of a role: the source, or null. */
  held(role) {
    return this.#held[role] ?? null;
  }

  /** Whether the server, as far as is known, holds all of a document. */
  holds(document) {
    return this.isOpen && ROLES.every((role) => this.held(role) === document[role]);
  }

  /** Make the server hold the pictures, mask and strokes of a document; one such call after the other.
   *  Throws: Problem; its `role` names what was refused. */
  ensure(document) {
    const turn = this.#turn.then(() => this.#ensure(document));
    this.#turn = turn.catch(() => {});
    return turn;
  }

  async #ensure(document) {
    try {
      await this.#sync(document);
    } catch (problem) {
      if (!(problem instanceof Problem) || problem.status !== 404) throw problem;
      this.#forget(); // the server was restarted, or the session has expired
      await this.#sync(document);
    }
  }

  async #sync(document) {
    if (!this.isOpen) await this.#open();
    let sent = false;
    for (const role of ROLES) {
      const source = document[role];
      if (this.held(role) === source) continue;
      await this.#put(role, source).catch(async (problem) => {
        const isGone = problem.isSilent && source?.file && !(await isReadable(source.file));
        const told = isGone ? new Problem(410, "", `${source.name} was moved or changed since it was chosen`) : problem;
        told.role = role;
        throw told;
      });
      sent = true;
    }
    if ((await this.#syncStrokes(document)) || sent) this.dispatchEvent(new Event("sent"));
  }

  async #open() {
    const answer = await send("POST", "studio/sessions");
    this.#held = {};
    this.facts = {};
    this.#id = (await answer.json()).id;
  }

  async #put(role, source) {
    if (source === null) {
      if (role === "mask") await send("DELETE", `${this.path}/mask`);
      delete this.#held[role];
      delete this.facts[role];
      return;
    }
    const query = source.example ? { example: source.example } : { name: source.name };
    const body = source.example ? undefined : source.file;
    const answer = await send("PUT", `${this.path}/${role}?${new URLSearchParams(query)}`, { body });
    if (role !== "background") delete this.#held.strokes; // a new portrait or mask makes the server drop them
    if (role === "portrait") delete this.#held.mask;
    this.facts[role] = await answer.json();
    this.#held[role] = source;
  }

  async #syncStrokes(document) {
    const { strokes, mask } = document;
    const held = this.#held.strokes ?? EMPTY_STROKES;
    const wanted = mask ? EMPTY_STROKES : strokes;
    if (held === wanted || (!held.length && !wanted.length) || !this.facts.portrait) return false;
    delete this.#held.strokes;
    if (wanted.length) {
      const body = await drawHint(wanted, this.facts.portrait);
      await send("PUT", `${this.path}/hint?name=strokes.png`, { body }).catch((problem) => {
        problem.role = "strokes";
        throw problem;
      });
    } else {
      await send("DELETE", `${this.path}/hint`);
    }
    this.#held.strokes = wanted;
    return true;
  }

  /** Send a request about this session, after the document is in place; once more if the server has forgotten it. */
  async request(document, method, path, options) {
    await this.ensure(document);
    try {
      return await send(method, `${this.path}/${path}`, options);
    } catch (problem) {
      if (!(problem instanceof Problem) || problem.status !== 404) throw problem;
      this.#forget();
      await this.ensure(document);
      return send(method, `${this.path}/${path}`, options);
    }
  }

  #forget() {
    this.#id = null;
    this.#held = {};
  }

  /** Tell the server, as the page is left, that the pictures are not needed any more. */
  close() {
    if (this.isOpen) send("DELETE", this.path, { keepalive: true }).catch(() => {});
    this.#forget();
  }
}

/** Whether a chosen file is still there as it was: the browser keeps no copy of it. */
const isReadable = (file) => file.slice(0, 1).arrayBuffer().then(() => true, () => false);

const EMPTY_STROKES = Object.freeze([]);
