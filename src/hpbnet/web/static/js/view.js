// Where the picture lies on the screen: fitted to the stage, or at a scale and position of one's own. Plain numbers.

import { clamp } from "./dom.js";

const LEAST_SCALE = 0.0002; // of a stage that has no size yet
const MOST_ZOOM = 16; // device pixels per pixel of the full result

export class View {
  #own = null; // {scale, x, y}: CSS pixels per pixel of the result, and the share of it at the stage's centre
  stage = { width: 1, height: 1, margin: 16, density: 1 }; // [CSS px]; density: device pixels per CSS pixel
  covered = 0; // [CSS px] at the top of the stage that a bar lies over
  content = { width: 1, height: 1 }; // [px] of the full result

  get isFitted() {
    return this.#own === null;
  }

  get fittedScale() {
    const { width, height, margin } = this.stage;
    return Math.max(
      LEAST_SCALE,
      Math.min((width - 2 * margin) / this.content.width, (height - this.covered - 2 * margin) / this.content.height),
    );
  }

  get scale() {
    return this.#own?.scale ?? this.fittedScale;
  }

  /** Share of full size: 1 where one pixel of the result is one pixel of the screen. */
  get zoom() {
    return this.scale * this.stage.density;
  }

  /** The picture's rectangle on the stage [CSS px]. */
  get rect() {
    const width = this.content.width * this.scale;
    const height = this.content.height * this.scale;
    const { x, y } = this.#own ?? { x: 0.5, y: 0.5 };
    const { x: middle, y: centre } = this.#middle;
    return { left: middle - x * width, top: centre - y * height, width, height };
  }

  get #middle() {
    return { x: this.stage.width / 2, y: (this.stage.height + this.covered) / 2 };
  }

  fit() {
    this.#own = null;
  }

  /** Turn a point of the stage [CSS px] into shares of the picture. */
  toShare(x, y) {
    const { left, top, width, height } = this.rect;
    return { x: (x - left) / width, y: (y - top) / height };
  }

  /** Scale so that the point of the picture under `at` (by default the middle of the stage) stays where it is. */
  zoomTo(zoom, at = this.#middle) {
    const share = this.toShare(at.x, at.y);
    const { density } = this.stage;
    const least = Math.min(this.fittedScale, 1 / density); // a picture no smaller than the stage, or at full size
    const scale = clamp(zoom / density, least, MOST_ZOOM / density);
    if (Math.abs(scale / this.fittedScale - 1) < 0.001 && zoom < this.zoom) return this.fit();
    const x = share.x - (at.x - this.#middle.x) / (this.content.width * scale);
    const y = share.y - (at.y - this.#middle.y) / (this.content.height * scale);
    this.#own = { scale, x: clamp(x, 0, 1), y: clamp(y, 0, 1) };
  }

  /** Move the picture by CSS pixels; one that is fitted stays. */
  pan(dx, dy) {
    if (this.isFitted) return;
    const { scale, x, y } = this.#own;
    this.#own = {
      scale,
      x: clamp(x - dx / (this.content.width * scale), 0, 1),
      y: clamp(y - dy / (this.content.height * scale), 0, 1),
    };
  }
}
