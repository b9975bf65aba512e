// What the page has to say: notices beside the picture, problems with what to do, and that something takes a while.

import { find, icon, make } from "./dom.js";

const LATE = 300; // [ms] after which the spinner is shown

const sentence = (text) => {
  const whole = text.trim();
  if (!whole) return "";
  const isName = /^\S+\.\w+\s/.test(whole); // a sentence may begin with a file's name
  return (isName ? whole[0] : whole[0].toUpperCase()) + whole.slice(1) + (/[.!?…]$/.test(whole) ? "" : ".");
};

export class Messages {
  #busy = new Set();
  #timer = 0;

  /** Show sentences about the picture; none hides the list. */
  notices(lines) {
    const list = find("#notices");
    const texts = [...new Set(lines.map(sentence))];
    if (list.dataset.text === texts.join("\n")) return;
    list.dataset.text = texts.join("\n");
    list.hidden = !texts.length;
    list.replaceChildren(...texts.map((text) => {
      const mend = /\bhint\b/.test(text) ? make("button", { type: "button", class: "plain", "data-mend": "" }, "Mend the cut-out") : null;
      return make("p", {}, icon("info"), make("span", {}, text, mend));
    }));
  }

  /** Show a problem until it is closed or solved.
   *  Args: key: a later problem of this key replaces it; actions: [[label, function], ...]. */
  problem(problem, key = "problem", actions = []) {
    const old = find(`[data-key="${key}"]`);
    const text = `${problem.title}\n${problem.detail}`;
    if (old?.dataset.text === text) return; // said already
    const close = make("button", { type: "button", class: "icon-button", "aria-label": "Close" }, icon("close"));
    const detail = sentence(problem.detail ?? "");
    const title = sentence(problem.title ?? "").replace(/\.$/, "");
    const isPlain = /^(bad request|cannot be done|conflict|not found|error|server error)/i.test(title);
    const box = make("div", { class: "message", role: "alert", "data-key": key, "data-text": text }, icon("warning"),
      make("div", {},
        detail && isPlain ? null : make("strong", {}, title),
        detail && detail !== sentence(title) ? make("p", {}, detail) : null,
        actions.length ? make("div", { class: "actions" }, ...actions.map(([label, run]) => {
          const button = make("button", { type: "button", class: "plain" }, label);
          button.addEventListener("click", () => {
            box.remove();
            run();
          });
          return button;
        })) : null),
      close);
    close.addEventListener("click", () => box.remove());
    if (old) old.replaceWith(box);
    else find("#messages").append(box);
  }

  /** Take a problem away, as it is solved. */
  solved(key) {
    find(`[data-key="${key}"]`)?.remove();
  }

  /** Tell a screen reader, and nobody else. */
  say(text) {
    find("#status").textContent = text;
  }

  /** Show the spinner while any work of a name lasts longer than a moment. */
  busy(name, isBusy) {
    if (isBusy) this.#busy.add(name);
    else this.#busy.delete(name);
    if (this.#busy.size && !this.#timer) {
      this.#timer = setTimeout(() => (find("#busy").hidden = false), LATE);
    } else if (!this.#busy.size) {
      clearTimeout(this.#timer);
      this.#timer = 0;
      find("#busy").hidden = true;
    }
  }
}
