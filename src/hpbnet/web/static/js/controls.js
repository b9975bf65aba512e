// The controls of the panel, made of the server's list of settings. One change of a control is one step of undo.

import { find, icon, make } from "./dom.js";
import { makeLamp } from "./lamp.js";
import { fromSlider, grouped, rounded, toSlider } from "./schema.js";

const STEPS = 1000; // of a slider
const TALL = 1100; // [px] of a window in which all groups are open
const CLOSED = new Set(["Place", "Cut-out", "Edge and grain", "Video", "More"]); // until they are opened

export class Controls {
  #root;
  #history;
  #rows = []; // {field, show(value, isGiven, automatic)}
  #automatic = () => ({});

  /** Args: root: the panel; history: of the document; automatic: () -> values in force where none is given. */
  constructor(root, history, automatic) {
    this.#root = root;
    this.#history = history;
    this.#automatic = automatic;
  }

  /** Make the controls of all fields anew; groups stay as open as they were. */
  build(fields) {
    const open = new Map([...this.#root.querySelectorAll("details")].map((group) => [group.dataset.name, group.open]));
    this.#rows = [];
    this.#root.replaceChildren(
      ...grouped(fields).map(([heading, members]) => {
        const isOpen = open.get(heading) ?? (innerHeight > TALL || !CLOSED.has(heading));
        const summary = make("summary", {}, make("h2", {}, heading), icon("chevron"));
        const rows = members.map((field) => this.#row(field));
        return make("details", { class: "group", "data-name": heading, open: isOpen }, summary, ...rows);
      }),
    );
    this.show();
  }

  /** Show the document's settings. */
  show() {
    const { settings } = this.#history.present;
    const automatic = this.#automatic();
    for (const { field, row, show } of this.#rows) {
      const isGiven = field.name in settings;
      show(isGiven ? settings[field.name] : field.default, automatic[field.name]);
      row.classList.toggle("is-changed", isGiven);
    }
  }

  #set(field, value, isLast) {
    const given = JSON.stringify(value) === JSON.stringify(field.default) ? undefined : value;
    this.#history.set({ [field.name]: given }, `control ${field.name}`);
    if (isLast) this.#history.seal();
  }

  #row(field) {
    const id = `control-${field.name}`;
    const set = (value, isLast = true) => this.#set(field, value, isLast);
    const { control, value = null, show, labels = true } = maker(field)(field, id, set);
    const reset = make("button", { type: "button", class: "reset", "aria-label": `Reset ${field.label}`, title: "Reset" },
      icon("reset"));
    reset.addEventListener("click", () => {
      this.#history.set({ [field.name]: undefined });
      find(`#${id}`)?.focus({ preventScroll: true });
    });
    const label = make(labels ? "label" : "span", labels ? { for: id } : { id: `${id}-label` }, field.label);
    const help = make("p", { class: "help", id: `${id}-help` }, field.help);
    const row = make("div", { class: `row row-${field.kind}`, "data-name": field.name },
      make("div", { class: "line" }, label, reset, value), control, help);
    this.#rows.push({ field, row, show });
    return row;
  }
}

function maker(field) {
  if (field.name === "lamp") return makeLamp;
  if (field.kind === "choice") return makeChoice;
  if (field.kind === "boolean") return makeToggle;
  if (field.kind === "array") return makeNumbers;
  if (field.kind === "number") return field.maximum - field.minimum <= 1000 ? makeSlider : makeNumber;
  return makeText;
}

const described = (id) => ({ id, "aria-describedby": `${id}-help` });

function makeSlider(field, id, set) {
  const slider = make("input", { ...described(id), type: "range", min: 0, max: STEPS, step: 1 });
  const value = make("input", { class: "value", type: "text", inputmode: "decimal", "aria-label": `${field.label}, number` });
  const paint = (share) => {
    const origin = field.minimum < 0 && field.maximum > 0 ? toSlider(field, 0) : 0;
    slider.style.setProperty("--from", `${100 * Math.min(origin, share)}%`);
    slider.style.setProperty("--to", `${100 * Math.max(origin, share)}%`);
  };
  const read = () => rounded(field, fromSlider(field, slider.value / STEPS));
  slider.addEventListener("input", () => set(read(), false));
  slider.addEventListener("change", () => set(read()));
  slider.addEventListener("dblclick", () => set(field.default));
  slider.addEventListener("keydown", (event) => {
    const step = { ArrowUp: 1, ArrowRight: 1, ArrowDown: -1, ArrowLeft: -1, PageUp: 5, PageDown: -5 }[event.key];
    if (!step) return;
    event.preventDefault(); // a hundredth of the way, whatever the range
    slider.value = Number(slider.value) + (step * STEPS) / 100;
    set(read());
  });
  value.addEventListener("change", () => {
    const number = Number(value.value.replace(",", ".").replace("−", "-"));
    if (!value.value.trim()) return set(field.default);
    set(Number.isFinite(number) ? Math.min(Math.max(number, field.minimum), field.maximum) : undefined);
  });
  value.addEventListener("focus", () => value.select());
  const show = (given, automatic) => {
    const number = given ?? automatic;
    const isKnown = typeof number === "number";
    const share = isKnown ? Math.min(Math.max(toSlider(field, number), 0), 1) : 0.5;
    if (document.activeElement !== slider || read() !== number) slider.value = Math.round(share * STEPS);
    const text = isKnown ? String(rounded(field, number)).replace("-", "−") : "";
    slider.setAttribute("aria-valuetext", isKnown ? text : "automatic");
    if (document.activeElement !== value) value.value = given === null ? `auto ${text}`.trim() : text;
    slider.classList.toggle("is-automatic", given === null);
    paint(share);
  };
  return { control: slider, value, show };
}

function makeNumber(field, id, set) {
  const { minimum: min, maximum: max } = field;
  const input = make("input", { ...described(id), type: "number", min, max, step: "any", placeholder: "automatic" });
  input.addEventListener("change", () => {
    set(input.value === "" || !input.validity.valid ? field.default : Number(input.value));
  });
  return { control: input, show: (value) => (input.value = value ?? "") };
}

function makeText(field, id, set) {
  const input = make("input", { ...described(id), type: "text", autocomplete: "off" });
  input.addEventListener("change", () => set(input.value.trim() || field.default));
  return { control: input, show: (value) => (input.value = value ?? "") };
}

function makeToggle(field, id, set) {
  const input = make("input", { ...described(id), type: "checkbox", role: "switch" });
  input.addEventListener("change", () => set(input.checked));
  return { control: null, value: input, show: (value) => (input.checked = Boolean(value)) };
}

function makeChoice(field, id, set) {
  const empty = field.default === null ? [make("option", { value: "" }, "automatic")] : [];
  const select = make("select", described(id), ...empty,
    ...field.choices.map((choice) => make("option", { value: choice, title: field.helps?.[choice] }, choice)));
  select.addEventListener("change", () => set(select.value || null));
  return { control: select, show: (value) => (select.value = value ?? "") };
}

/** Several whole numbers, such as width and height; they count when all are given. */
function makeNumbers(field, id, set) {
  const names = field.count === 2 ? ["Width", "Height"] : Array.from({ length: field.count ?? 2 }, (_, at) => `${at + 1}`);
  const inputs = names.map((name, at) => make("input", {
    ...(at ? { "aria-describedby": `${id}-help` } : described(id)), type: "number", min: field.minimum,
    max: field.maximum, step: 1, placeholder: name, "aria-label": `${field.label}: ${name.toLowerCase()}`,
  }));
  const read = () => {
    const isValid = inputs.every((input) => input.value !== "" && input.validity.valid);
    if (isValid) set(inputs.map((input) => Number(input.value)));
    else if (inputs.every((input) => input.value === "")) set(field.default);
  };
  for (const input of inputs) input.addEventListener("change", read);
  const control = make("div", { class: "numbers" }, ...inputs.flatMap((input, at) => (at ? ["×", input] : [input])));
  const show = (value) => {
    if (inputs.includes(document.activeElement) && value === field.default) return; // one of the two is being typed
    inputs.forEach((input, at) => (input.value = value?.[at] ?? ""));
  };
  return { control, show };
}
