// The canvas: draws the result, the unchanged person beside it, the frame around the person, or the brush's portrait.

import { corners } from "./placement.js";
import { View } from "./view.js";

const HANDLE = 5; // [px] radius
const SHARP = 3; // screen pixels per pixel of a picture from which its pixels are shown as squares

export class Stage {
  #context;
  #frame = 0;
  #views = { picture: new View(), brush: new View() };
  picture = null; // bitmap of the result
  before = null; // bitmap of the unchanged person
  compare = null; // share of the stage's picture that shows `before`, or null
  person = null; // box of the person in shares, to be framed; null: no frame
  brush = null; // painter of the brush, which takes the whole stage

  constructor(canvas) {
    this.canvas = canvas;
    this.#context = canvas.getContext("2d");
    new ResizeObserver(() => this.resize()).observe(canvas);
    this.resize();
  }

  get view() {
    return this.#views[this.brush ? "brush" : "picture"];
  }

  /** Take the full size of the result, or of the portrait that the brush mends. */
  setSize({ width, height }, kind = "picture") {
    const view = this.#views[kind];
    if (view.content.width === width && view.content.height === height) return;
    view.content = { width, height };
    this.viewChanged();
  }

  resize() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    const density = window.devicePixelRatio || 1;
    const margin = width < 600 ? 8 : 24;
    for (const view of Object.values(this.#views)) view.stage = { width, height, margin, density };
    this.canvas.width = Math.max(1, Math.round(width * density));
    this.canvas.height = Math.max(1, Math.round(height * density));
    this.paint(); // at once: a resized canvas is empty
    this.canvas.dispatchEvent(new Event("view"));
  }

  /** Keep the picture clear of the bar that lies over the stage's top, if there is one. */
  clearBars(bars) {
    const bar = bars.find((each) => !each.hidden && getComputedStyle(each).position === "absolute");
    const covered = bar ? bar.offsetTop + bar.offsetHeight - 12 : 0;
    if (covered === this.view.covered) return;
    this.view.covered = covered;
    this.viewChanged();
  }

  /** Draw at the next frame of the screen. */
  draw() {
    if (!this.#frame) this.#frame = requestAnimationFrame(() => this.paint());
  }

  /** Draw again, and tell that another part of the picture is seen. */
  viewChanged() {
    this.draw();
    this.canvas.dispatchEvent(new Event("view"));
  }

  /** The point of a mouse or finger on the stage [CSS px]. */
  point(event) {
    const box = this.canvas.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  }

  /** A point in shares of the picture, as a point of the stage [CSS px]. */
  toStage({ x, y }) {
    const { left, top, width, height } = this.view.rect;
    return { x: left + x * width, y: top + y * height };
  }

  /** Where the line between before and after is [CSS px across]; null where nothing is compared. */
  get dividerX() {
    if (this.compare === null || this.brush) return null;
    const { left, width } = this.#visible();
    return left + this.compare * width;
  }

  /** The share of the comparison for a point [CSS px across]. */
  compareAt(x) {
    const { left, width } = this.#visible();
    return Math.min(Math.max((x - left) / width, 0), 1);
  }

  #visible() {
    const { left, width } = this.view.rect;
    const from = Math.max(0, left);
    return { left: from, width: Math.max(1, Math.min(this.view.stage.width, left + width) - from) };
  }

  paint() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    const context = this.#context;
    const { width, height, density } = this.view.stage;
    context.setTransform(density, 0, 0, density, 0, 0);
    context.clearRect(0, 0, width, height);
    if (this.brush) return this.brush.paint(context, this.view.rect);
    if (!this.picture) return undefined;
    this.drawBitmap(context, this.picture);
    if (this.compare !== null && this.before) this.#paintBefore(context);
    if (this.person) this.#paintFrame(context);
    return undefined;
  }

  /** Draw a bitmap over the whole picture; its pixels as squares where they are much enlarged. */
  drawBitmap(context, bitmap) {
    const { left, top, width, height } = this.view.rect;
    context.imageSmoothingEnabled = (width * this.view.stage.density) / bitmap.width < SHARP;
    context.imageSmoothingQuality = "high";
    context.drawImage(bitmap, left, top, width, height);
  }

  #paintBefore(context) {
    const x = this.dividerX;
    const { left, top, height } = this.view.rect;
    context.save();
    context.beginPath();
    context.rect(left, top, x - left, height);
    context.clip();
    this.drawBitmap(context, this.before);
    context.restore();
    const from = Math.max(top, 0);
    const to = Math.min(top + height, this.view.stage.height);
    line(context, [[x, from], [x, to]]);
    knob(context, x, (from + to) / 2);
    label(context, "Before", x - 12, from + 12, "right");
    label(context, "After", x + 12, from + 12, "left");
  }

  #paintFrame(context) {
    const points = corners(this.person).map((corner) => this.toStage(corner));
    line(context, [...points.map(({ x, y }) => [x, y]), [points[0].x, points[0].y]]);
    for (const { x, y } of points) {
      context.beginPath();
      context.arc(x, y, HANDLE, 0, 2 * Math.PI);
      context.fillStyle = "#ffffff";
      context.fill();
      context.strokeStyle = "rgb(0 0 0 / 55%)";
      context.lineWidth = 1;
      context.stroke();
    }
  }
}

/** A thin white line that is seen on dark and on light. */
export function line(context, points) {
  context.beginPath();
  points.forEach(([x, y], at) => (at ? context.lineTo(x, y) : context.moveTo(x, y)));
  context.strokeStyle = "rgb(0 0 0 / 40%)";
  context.lineWidth = 3;
  context.stroke();
  context.strokeStyle = "rgb(255 255 255 / 90%)";
  context.lineWidth = 1.25;
  context.stroke();
}

function knob(context, x, y) {
  context.beginPath();
  context.arc(x, y, 15, 0, 2 * Math.PI);
  context.fillStyle = "#ffffff";
  context.shadowColor = "rgb(0 0 0 / 40%)";
  context.shadowBlur = 6;
  context.fill();
  context.shadowBlur = 0;
  context.strokeStyle = "#333333";
  context.lineWidth = 1.75;
  context.lineJoin = "round";
  for (const side of [-1, 1]) {
    context.beginPath();
    context.moveTo(x + side * 4, y - 4);
    context.lineTo(x + side * 8, y);
    context.lineTo(x + side * 4, y + 4);
    context.stroke();
  }
}

function label(context, text, x, y, align) {
  context.font = "500 12px system-ui, sans-serif";
  context.textBaseline = "middle";
  const width = context.measureText(text).width + 16;
  const left = align === "right" ? x - width : x;
  context.beginPath();
  context.roundRect(left, y, width, 22, 11);
  context.fillStyle = "rgb(0 0 0 / 55%)";
  context.fill();
  context.fillStyle = "#ffffff";
  context.textAlign = "left";
  context.fillText(text, left + 8, y + 11.5);
}
