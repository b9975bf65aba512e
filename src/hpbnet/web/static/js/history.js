// The document that is edited, and its undo and redo. A document is never changed: each change makes a new one.

export const EMPTY = Object.freeze({
  portrait: null, // a source: {name, file} or {name, example}
  background: null,
  mask: null,
  strokes: Object.freeze([]), // of the brush, see brush.js
  settings: Object.freeze({}), // only what differs from the defaults, network names included
});

const MOST_STEPS = 500;

export class History extends EventTarget {
  #past = [];
  #future = [];
  #tag = null; // of the change that the next one of the same tag continues
  present = EMPTY;

  get canUndo() {
    return this.#past.length > 0;
  }

  get canRedo() {
    return this.#future.length > 0;
  }

  /** Change the document. Changes with one tag are one step of undo until `seal` is called. */
  change(patch, tag = null) {
    if (!(tag && tag === this.#tag)) {
      this.#past.push(this.present);
      if (this.#past.length > MOST_STEPS) this.#past.shift();
    }
    this.#tag = tag;
    this.#future = [];
    this.#show(Object.freeze({ ...this.present, ...patch }));
  }

  /** Change settings; a value of undefined or null takes the setting back to its default. */
  set(values, tag = null) {
    const settings = { ...this.present.settings };
    for (const [name, value] of Object.entries(values)) {
      if (value === undefined || value === null) delete settings[name];
      else settings[name] = value;
    }
    if (JSON.stringify(settings) !== JSON.stringify(this.present.settings)) {
      this.change({ settings: Object.freeze(settings) }, tag);
    }
  }

  /** End a step: the next change can be undone by itself. */
  seal() {
    this.#tag = null;
  }

  undo() {
    this.#step(this.#past, this.#future);
  }

  redo() {
    this.#step(this.#future, this.#past);
  }

  /** Correct the latest change, as the server refused a part of it; a change of which nothing is left was none. */
  amend(patch) {
    const document = Object.freeze({ ...this.present, ...patch });
    const last = this.#past.at(-1);
    const isNothing = last && Object.keys(EMPTY).every((name) => last[name] === document[name]);
    this.#show(isNothing ? this.#past.pop() : document);
  }

  #step(from, to) {
    if (!from.length) return;
    to.push(this.present);
    this.#tag = null;
    this.#show(from.pop());
  }

  #show(document) {
    this.present = document;
    this.dispatchEvent(new Event("change"));
  }
}
