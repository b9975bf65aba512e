// The tool that mends the cut-out: strokes on the portrait that keep or remove. The server solves the matte again.

import { Problem } from "./api.js";
import { clamp } from "./dom.js";
import { drawStroke } from "./hint.js";

const SIDE = 1280; // [px] of the portrait and cut-out that are shown
const DIM = 0.28; // opacity of what is not kept
const KEEP = "rgb(64 190 120)";
const REMOVE = "rgb(235 80 80)";
const OPACITY = 0.6; // of strokes that are drawn
const NEAREST = 1.5; // [px] between two points of a stroke

export class BrushTool {
  #stage;
  #history;
  #session;
  #tell; // (problem) -> shown to the user
  #stroke = null; // that is being drawn
  #cursor = null; // [CSS px]
  #shown = {}; // {portrait, cutout: bitmaps, of: document}
  #loading = false;
  #paper = document.createElement("canvas"); // strokes, in shares of the portrait
  isKeep = true;
  radius = 0.03; // share of the portrait's width
  softness = 0.3;

  constructor(stage, history, session, tell) {
    this.#stage = stage;
    this.#history = history;
    this.#session = session;
    this.#tell = tell;
  }

  get isBusy() {
    return this.#stroke !== null;
  }

  /** Fetch portrait and cut-out anew where the document has changed. */
  async refresh() {
    const { present } = this.#history;
    if (this.#loading || this.#shown.of === present || !present.portrait) return;
    this.#loading = true;
    try {
      if (this.#shown.source !== present.portrait) this.#shown = {};
      const portrait = this.#shown.portrait ?? (await this.#fetch(present, "portrait"));
      const cutout = isSame(this.#shown.of, present) ? this.#shown.cutout : await this.#cutout(present);
      if (cutout !== this.#shown.cutout) this.#shown.cutout?.close();
      this.#shown = { portrait, cutout, of: present, source: present.portrait };
      const facts = this.#session.facts.portrait;
      if (facts) this.#stage.setSize(facts, "brush");
      this.#stage.draw();
    } catch (problem) {
      this.#shown.of = present;
      if (!(problem instanceof Problem)) throw problem;
      this.#tell(problem);
    } finally {
      this.#loading = false;
    }
    if (this.#shown.of !== this.#history.present) await this.refresh();
  }

  /** Fetch the cut-out; null where nobody is found: strokes may show who is meant. */
  #cutout(document) {
    return this.#fetch(document, "cutout").catch((problem) => {
      if (problem.status !== 422) throw problem;
      return null;
    });
  }

  async #fetch(document, what) {
    const { matting, person } = document.settings;
    const query = new URLSearchParams({ side: SIDE, ...(matting && { matting }), ...(person && { person }) });
    const answer = await this.#session.request(document, "GET", `${what}?${query}`);
    return createImageBitmap(await answer.blob());
  }

  /** Draw portrait, cut-out, strokes and the brush's circle. */
  paint(context, rect) {
    const { portrait, cutout, of } = this.#shown;
    if (!portrait) return;
    context.globalAlpha = cutout ? DIM : 1;
    this.#stage.drawBitmap(context, portrait);
    context.globalAlpha = 1;
    if (cutout) this.#stage.drawBitmap(context, cutout);
    const { strokes } = this.#history.present;
    const fresh = strokes === of?.strokes ? [] : strokes.slice(of?.strokes?.length ?? 0); // not solved yet
    this.#paintStrokes(context, rect, this.#stroke ? [...fresh, this.#stroke] : fresh);
    if (this.#cursor) this.#paintCursor(context, rect);
  }

  #paintStrokes(context, rect, strokes) {
    if (!strokes.length) return;
    const { density } = this.#stage.view.stage;
    this.#paper.width = Math.min(2048, Math.round(rect.width * density));
    this.#paper.height = Math.max(1, Math.round((this.#paper.width * rect.height) / rect.width));
    const paper = this.#paper.getContext("2d");
    for (const stroke of strokes) drawStroke(paper, stroke, this.#paper.width, stroke.keep ? KEEP : REMOVE);
    context.globalAlpha = OPACITY;
    context.drawImage(this.#paper, rect.left, rect.top, rect.width, rect.height);
    context.globalAlpha = 1;
  }

  #paintCursor(context, rect) {
    const { x, y } = this.#cursor;
    const radius = this.radius * rect.width;
    for (const [color, width] of [["rgb(0 0 0 / 50%)", 3], [this.isKeep ? KEEP : REMOVE, 1.5]]) {
      context.beginPath();
      context.arc(x, y, radius, 0, 2 * Math.PI);
      context.strokeStyle = color;
      context.lineWidth = width;
      context.stroke();
    }
    context.beginPath();
    context.arc(x, y, radius * (1 - this.softness), 0, 2 * Math.PI);
    context.strokeStyle = "rgb(255 255 255 / 35%)";
    context.lineWidth = 1;
    if (this.softness > 0.05) context.stroke();
  }

  hover(point, event) {
    this.#stage.canvas.style.cursor = event.pointerType === "touch" ? "" : "none";
    this.#cursor = event.pointerType === "touch" ? null : point;
    this.#stage.draw();
  }

  leave() {
    this.#cursor = null;
    this.#stage.draw();
  }

  down(point, event) {
    if (this.#history.present.mask || !this.#shown.portrait) return false;
    const keep = event.altKey || event.button === 2 ? !this.isKeep : this.isKeep;
    this.#stroke = { keep, radius: this.radius, softness: this.softness, points: [] };
    this.#add(point);
    return true;
  }

  move(point, event) {
    this.#cursor = event.pointerType === "touch" ? null : point;
    for (const each of event.getCoalescedEvents?.() ?? []) this.#add(this.#stage.point(each));
    this.#add(point);
  }

  #add(point) {
    const { rect } = this.#stage.view;
    const { points } = this.#stroke;
    // x and y are both shares of the width, so that circles stay round
    const at = [(point.x - rect.left) / rect.width, (point.y - rect.top) / rect.width];
    const last = points.at(-1);
    if (!last || Math.hypot(at[0] - last[0], at[1] - last[1]) * rect.width >= NEAREST) {
      points.push(at.map((value) => Number(value.toFixed(5))));
    }
    this.#stage.draw();
  }

  up() {
    const stroke = Object.freeze(this.#stroke);
    this.#stroke = null;
    this.#history.change({ strokes: Object.freeze([...this.#history.present.strokes, stroke]) });
  }

  cancel() {
    this.#stroke = null;
    this.#stage.draw();
  }

  wheel() {
    return false;
  }

  pinch() {
    return false;
  }

  pinched() {}

  /** Change the brush by a key; say whether the key means something here. */
  key(event) {
    const factor = { "[": 1 / 1.2, "]": 1.2 }[event.key];
    if (factor) this.radius = clamp(this.radius * factor, 0.002, 0.25);
    else if (event.key === "x") this.isKeep = !this.isKeep;
    else return false;
    this.#stage.draw();
    return true;
  }
}

const isSame = (one, other) =>
  ["portrait", "mask", "strokes"].every((name) => one?.[name] === other[name]) &&
  ["matting", "person"].every((name) => one.settings[name] === other.settings[name]);
