// Where the person stands: plain numbers. x is the middle of the person, y the lower edge, scale the height, all as
// shares of the result. A box is {left, top, width, height} in shares, too.

import { clamp } from "./dom.js";

const LEAST_SCALE = 0.02;
const MOST_SCALE = 10;

/** Where the person is by now, while the server still works: the last answer, moved as the settings were.
 *  Returns: {box, scale, x, y}, or null where nobody was placed. */
export function predict(placement, settings, shown) {
  if (!placement?.box) return null;
  const was = { scale: placement.scale, x: placement.x, y: placement.y };
  const now = {};
  for (const name of ["scale", "x", "y"]) {
    const isReset = !(name in settings) && name in shown; // automatic again: the answer will tell
    now[name] = isReset ? was[name] : (settings[name] ?? was[name]);
  }
  const ratio = now.scale / was.scale;
  const { left, top, width, height } = placement.box;
  return {
    ...now,
    box: {
      left: now.x + (left - was.x) * ratio,
      top: now.y + (top - was.y) * ratio,
      width: width * ratio,
      height: height * ratio,
    },
  };
}

/** Return the settings of a person moved by shares. */
export const moved = ({ scale, x, y }, dx, dy) => round({ scale, x: x + dx, y: y + dy });

/** Return the settings of a person scaled by a factor, so that the point `anchor` (shares) stays where it is. */
export function scaled({ scale, x, y }, factor, anchor) {
  const to = clamp(scale * factor, LEAST_SCALE, MOST_SCALE);
  const ratio = to / scale;
  return round({ scale: to, x: anchor.x + (x - anchor.x) * ratio, y: anchor.y + (y - anchor.y) * ratio });
}

const round = ({ scale, x, y }) => ({
  scale: Number(clamp(scale, LEAST_SCALE, MOST_SCALE).toFixed(4)),
  x: Number(clamp(x, -2, 3).toFixed(4)),
  y: Number(clamp(y, -2, 3).toFixed(4)),
});

/** The four corners of a box, each with the corner opposite to it. */
export function corners({ left, top, width, height }) {
  const points = [[0, 0], [1, 0], [1, 1], [0, 1]];
  const at = ([u, v]) => ({ x: left + u * width, y: top + v * height });
  return points.map(([u, v]) => ({ ...at([u, v]), opposite: at([1 - u, 1 - v]), isFalling: u === v }));
}

export const isInside = ({ left, top, width, height }, { x, y }) =>
  x >= left && x <= left + width && y >= top && y <= top + height;
