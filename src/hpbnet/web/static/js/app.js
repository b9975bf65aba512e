// The state of the page: document, session, stage and tools, and what follows when one of them changes.

import { Problem, getJson, send } from "./api.js";
import { BrushTool } from "./brush-tool.js";
import { Clip } from "./clip.js";
import { Controls } from "./controls.js";
import { find, findAll, wait } from "./dom.js";
import { Gestures } from "./gestures.js";
import { History } from "./history.js";
import { Live } from "./live.js";
import { Messages } from "./messages.js";
import { MoveTool } from "./move-tool.js";
import { Previewer, untouched } from "./previewer.js";
import { fieldsOf, known } from "./schema.js";
import { Session } from "./session.js";
import { pictureOf } from "./sources.js";
import { Stage } from "./stage.js";

const SIDES = [1280, 1800, 2560, 3600, 5120, 8192]; // [px] of previews that are asked for
const RETRY = 1500; // [ms] between two looks for a server that does not answer

export class App extends EventTarget {
  history = new History();
  session = new Session();
  messages = new Messages();
  live = new Live();
  clip = new Clip();
  #schemas = {}; // "picture", "video" and "live" -> fields by name
  #kind = ""; // of the schema that the controls show
  #isRetrying = false;

  constructor() {
    super();
    this.stage = new Stage(find("#canvas"));
    this.previewer = new Previewer(this.session, () => this.#wanted());
    this.move = new MoveTool(this.stage, this.history, () => this.previewer.result);
    this.brush = new BrushTool(this.stage, this.history, this.session, (problem) => this.fail(problem));
    this.gestures = new Gestures(this.stage, () => (this.stage.brush ? this.brush : this.move));
    this.controls = new Controls(find("#controls"), this.history, () => this.move.person ?? {});
    this.history.addEventListener("change", () => this.#changed());
    this.session.addEventListener("sent", () => this.update());
    this.previewer.addEventListener("result", () => this.#show());
    this.previewer.addEventListener("busy", ({ detail }) => this.messages.busy("preview", detail));
    this.previewer.addEventListener("problem", ({ detail }) => this.fail(detail));
    this.stage.canvas.addEventListener("view", () => this.previewer.poke());
    this.clip.addEventListener("bar", () => this.stage.clearBars(findAll(".strip")));
    this.live.addEventListener("frame", ({ detail }) => this.#showFrame(detail));
    this.live.addEventListener("stop", () => this.#stopped());
    this.live.addEventListener("problem", ({ detail }) => this.fail(detail));
  }

  /** Ask the server what it offers; wait for it where it does not answer yet. */
  async begin() {
    for (;;) {
      try {
        const [options, networks] = await Promise.all([getJson("v1/options"), getJson("v1/networks")]);
        for (const kind of ["picture", "video", "live"]) {
          if (options[kind]) this.#schemas[kind] = fieldsOf(options[kind], networks);
        }
        break;
      } catch (problem) {
        this.messages.problem(problem, "silent");
        await wait(RETRY);
      }
    }
    this.messages.solved("silent");
    this.update();
  }

  get document() {
    return this.history.present;
  }

  get isVideo() {
    return ["portrait", "background"].some(
      (role) => this.document[role] && this.session.facts[role]?.kind === "video",
    );
  }

  /** Whether there is a still portrait whose cut-out can be mended. */
  get canMend() {
    return Boolean(this.document.portrait) && this.session.facts.portrait?.kind !== "video" && !this.live.isOn;
  }

  get #made() {
    if (this.live.isOn) return "live";
    return this.isVideo ? "video" : "picture";
  }

  get #fields() {
    return this.#schemas[this.#made] ?? {};
  }

  /** The document's settings that the server knows for what is made. */
  get settings() {
    return known(this.document.settings, this.#fields);
  }

  get isReady() {
    return Boolean(this.document.portrait && this.document.background);
  }

  #wanted() {
    const { width, height } = this.stage.view.rect;
    const seen = Math.max(width, height) * this.stage.view.stage.density;
    const side = this.stage.brush ? SIDES[0] : (SIDES.find((each) => each >= seen) ?? SIDES.at(-1));
    const isCompared = this.stage.compare !== null && !this.stage.brush;
    const before = isCompared ? untouched(this.settings, this.#fields) : null;
    return { document: this.document, settings: this.settings, before, side };
  }

  #isStale(isStale) {
    find("#stage").setAttribute("aria-busy", String(isStale));
  }

  #changed() {
    this.#isStale(this.isReady);
    if (!this.isReady && this.previewer.result) this.previewer.clear();
    this.messages.solved("problem");
    this.update();
    this.#showBackground();
    this.previewer.touch();
    if (this.stage.brush) this.brush.refresh();
    if (this.live.isOn) this.live.send(this.settings);
    this.stage.draw();
  }

  /** Bring the page in line with the document. */
  update() {
    const { portrait, background } = this.document;
    const { dataset } = document.body;
    const state = this.isReady || this.live.isOn ? "ready" : "empty";
    if (dataset.state !== state) requestAnimationFrame(() => this.stage.canvas.focus({ preventScroll: true }));
    dataset.state = state;
    const video = this.isVideo && this.isReady && !this.live.isOn;
    for (const [name, isOn] of Object.entries({ portrait, background, video, live: this.live.isOn })) {
      document.body.toggleAttribute(`data-${name}`, Boolean(isOn));
    }
    if (this.#made !== this.#kind && this.#schemas[this.#made]) {
      this.#kind = this.#made;
      this.controls.build(this.#fields);
    } else {
      this.controls.show();
    }
    this.dispatchEvent(new Event("update"));
    this.stage.clearBars(findAll(".strip"));
  }

  #show() {
    if (this.live.isOn) return;
    const { result, before } = this.previewer;
    this.messages.solved("silent");
    this.#isStale(this.isReady && result?.document !== this.document);
    this.stage.picture = result?.bitmap ?? null;
    this.stage.before = before?.bitmap ?? null;
    document.body.toggleAttribute("data-shown", Boolean(result));
    if (result) {
      this.stage.setSize(result.size);
      const facts = ["portrait", "background", "mask"].flatMap((role) => this.session.facts[role]?.notices ?? []);
      this.messages.notices([...facts, ...result.notices]);
      if (this.stage.person) this.stage.person = this.move.person?.box ?? null;
      if (result.document === this.document) this.controls.show();
    } else {
      this.messages.notices([]);
    }
    this.stage.draw();
    this.dispatchEvent(new Event("shown"));
  }

  /** Show the background alone until there is a result, if the browser can read it. */
  async #showBackground() {
    const { background } = this.document;
    if (!this.isReady || this.previewer.result) return;
    const bitmap = await pictureOf(background).catch(() => null);
    if (!bitmap || this.previewer.result || this.document.background !== background) return;
    this.stage.picture = bitmap;
    this.stage.setSize(bitmap);
    this.stage.draw();
  }

  #showFrame(bitmap) {
    this.stage.picture = bitmap;
    this.stage.person = null;
    this.stage.setSize(bitmap);
    this.stage.draw();
    find("#live-rate").textContent = `Live, ${Math.round(this.live.rate)} pictures a second`;
  }

  /** Compose the camera's picture live, or stop. */
  async toggleLive() {
    if (this.live.isOn) return this.live.stop();
    try {
      this.toggleBrush(false);
      this.setCompare(null);
      await this.session.ensure(this.document);
      await this.live.start(`studio/live/${this.session.id}`, known(this.document.settings, this.#schemas.live ?? {}));
      this.messages.notices([]);
    } catch (problem) {
      this.live.stop();
      this.fail(problem);
    }
    return this.update();
  }

  #stopped() {
    this.stage.picture = null;
    this.update();
    this.#show();
  }

  toggleBrush(isOn = !this.stage.brush) {
    this.stage.brush = isOn && this.canMend ? this.brush : null;
    this.stage.person = null;
    this.stage.canvas.style.cursor = "";
    if (this.stage.brush) {
      this.stage.setSize(this.session.facts.portrait ?? { width: 1, height: 1 }, "brush");
      this.brush.refresh();
    }
    this.update();
    this.stage.viewChanged();
  }

  setCompare(share) {
    this.stage.compare = share;
    this.stage.viewChanged();
    this.update();
  }

  /** Have the video made. */
  async makeVideo() {
    if (this.clip.isWorking) return;
    try {
      await this.clip.make(() =>
        this.session.request(this.document, "POST", "video", { json: { settings: this.settings } }));
    } catch (problem) {
      this.fail(problem);
    }
  }

  /** Say what is wrong, and set right what can be: a refused picture goes, a silent server is waited for. */
  fail(problem) {
    if (!(problem instanceof Problem)) throw problem;
    this.#isStale(false);
    const { role, status } = problem;
    if (status === 0 && problem.isSilent) {
      this.messages.problem(problem, "silent");
      this.#awaitServer();
      return;
    }
    const actions = [];
    if (role && role !== "strokes") problem.title = `The ${role} cannot be used`;
    if (role && status !== 0) {
      this.history.amend({ [role]: role === "strokes" ? this.document.strokes.slice(0, -1) : this.session.held(role) });
      if (role !== "strokes") actions.push(["Choose another file", () => find(`#file-${role}`).click()]);
    } else if (this.isReady && /no person found|shows nobody/.test(problem.detail)) {
      problem.title = "Nobody was found in the portrait";
      actions.push(["Swap the two pictures", () => this.swap()], ["Mark the person", () => this.toggleBrush(true)]);
    }
    this.messages.problem(problem, role ? `refused-${role}` : "problem", actions);
  }

  async #awaitServer() {
    if (this.#isRetrying) return;
    this.#isRetrying = true;
    for (let isBack = false; !isBack; ) {
      await wait(RETRY);
      isBack = await send("GET", "health").then(() => true, () => false);
    }
    this.#isRetrying = false;
    this.messages.solved("silent");
    this.previewer.touch();
    if (this.stage.brush) this.brush.refresh();
  }

  /** Take settings of a file, all at once; return the names that nothing here knows. */
  takeSettings(values) {
    const fields = Object.assign({}, ...Object.values(this.#schemas));
    const isPlain = (name, value) => JSON.stringify(value) === JSON.stringify(fields[name]?.default);
    const given = Object.entries(known(values, fields)).filter(([name, value]) => value !== null && !isPlain(name, value));
    this.history.change({ settings: Object.freeze(Object.fromEntries(given)) });
    return Object.keys(values).filter((name) => !(name in known(values, fields)));
  }

  swap() {
    const { portrait, background } = this.document;
    this.history.change({ portrait: background, background: portrait, mask: null, strokes: Object.freeze([]) });
  }

  /** Put sources in their places; strokes and mask go with the old portrait. */
  give(sources) {
    for (const role of Object.keys(sources)) this.messages.solved(`refused-${role}`);
    const isNew = "portrait" in sources || "mask" in sources;
    this.history.change({ ...(isNew && { mask: null, strokes: Object.freeze([]) }), ...sources });
  }
}
