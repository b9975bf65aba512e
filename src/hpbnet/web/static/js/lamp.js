// The lamp: a dot dragged on a small sphere says from where it shines; a colour and a strength say how.
// As text, AZIMUTH,ELEVATION,COLOUR,STRENGTH: 0,0 is at the camera, azimuth to the picture's right, elevation up [deg].

import { clamp, make } from "./dom.js";

const RADIUS = 40; // [px] of the sphere
const DEGREE = Math.PI / 180;
const STEP = 5; // [deg] of an arrow key
const MOST_STRENGTH = 4;
const PLAIN = { azimuth: 0, elevation: 0, color: "#ffffff", strength: 1 };

/** Where a direction lies on the sphere as the camera sees it; what is behind lies on its rim. */
export function toDot({ azimuth, elevation }) {
  const front = clamp(azimuth, -90, 90);
  return {
    x: Math.sin(front * DEGREE) * Math.cos(elevation * DEGREE),
    y: -Math.sin(elevation * DEGREE),
  };
}

export function fromDot(x, y) {
  const length = Math.hypot(x, y);
  const [u, v] = length > 1 ? [x / length, y / length] : [x, y];
  const elevation = Math.asin(clamp(-v, -1, 1)) / DEGREE;
  const azimuth = Math.asin(clamp(u / Math.max(Math.cos(elevation * DEGREE), 1e-6), -1, 1)) / DEGREE;
  return { azimuth: Math.round(azimuth), elevation: Math.round(elevation) };
}

/** Read a lamp's text; null where there is none. */
export function readLamp(text) {
  if (!text) return null;
  const [azimuth, elevation = 0, ...rest] = String(text).split(",");
  const color = rest.find((part) => /^\s*#|k\s*$/i.test(part))?.trim() ?? PLAIN.color;
  const strength = Number(rest.find((part) => Number.isFinite(Number(part))) ?? PLAIN.strength);
  return { azimuth: Number(azimuth), elevation: Number(elevation), color, strength };
}

export const writeLamp = ({ azimuth, elevation, color, strength }) => [azimuth, elevation, color, strength].join(",");

export function makeLamp(field, id, set) {
  const dot = make("button", { id, type: "button", class: "dot", "aria-describedby": `${id}-help` });
  const sphere = make("div", { class: "sphere" }, dot);
  const color = make("input", { type: "color", "aria-label": `${field.label}: colour`, title: "Colour" });
  const strength = make("input", { type: "range", min: 0, max: MOST_STRENGTH, step: 0.05, "aria-label": `${field.label}: strength` });
  const off = make("button", { type: "button", class: "plain" }, "Off");
  const text = make("output", { for: id });
  const more = make("div", { class: "lamp-more" }, color, strength, off);
  let lamp = PLAIN;
  const give = (change, isLast = true) => set(writeLamp({ ...lamp, ...change }), isLast);
  const drag = (event, isLast) => {
    const box = sphere.getBoundingClientRect();
    const along = (at, from, length) => ((at - from) / length) * 2 - 1;
    give(fromDot(along(event.clientX, box.left, box.width), along(event.clientY, box.top, box.height)), isLast);
  };
  sphere.addEventListener("pointerdown", (event) => {
    event.preventDefault();
    sphere.setPointerCapture(event.pointerId);
    dot.focus({ preventScroll: true });
    drag(event, false);
  });
  sphere.addEventListener("pointermove", (event) => sphere.hasPointerCapture(event.pointerId) && drag(event, false));
  sphere.addEventListener("pointerup", (event) => drag(event, true));
  dot.addEventListener("keydown", (event) => {
    const [dx, dy] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key] ?? [0, 0];
    if (!dx && !dy) return;
    event.preventDefault();
    event.stopPropagation();
    give({ azimuth: clamp(lamp.azimuth + dx * STEP, -180, 180), elevation: clamp(lamp.elevation + dy * STEP, -90, 90) });
  });
  color.addEventListener("input", () => give({ color: color.value }, false));
  color.addEventListener("change", () => give({ color: color.value }));
  strength.addEventListener("input", () => give({ strength: Number(strength.value) }, false));
  strength.addEventListener("change", () => give({ strength: Number(strength.value) }));
  off.addEventListener("click", () => set(field.default));
  const show = (value) => {
    const given = readLamp(value);
    lamp = given ?? PLAIN;
    const { x, y } = toDot(lamp);
    sphere.style.setProperty("--x", `${RADIUS + x * RADIUS}px`);
    sphere.style.setProperty("--y", `${RADIUS + y * RADIUS}px`);
    sphere.style.setProperty("--lamp", lamp.color.startsWith("#") ? lamp.color : "#ffe2b8");
    sphere.classList.toggle("is-on", given !== null);
    more.hidden = given === null;
    if (lamp.color.startsWith("#")) color.value = lamp.color;
    strength.value = lamp.strength;
    strength.style.setProperty("--to", `${(100 * lamp.strength) / MOST_STRENGTH}%`);
    text.textContent = given ? `${lamp.azimuth}° across, ${lamp.elevation}° up` : "Drag the dot to add a lamp";
    dot.setAttribute("aria-label", `${field.label}: ${given ? text.textContent : "off"}`);
  };
  return { control: make("div", { class: "lamp" }, sphere, make("div", {}, text, more)), show, labels: false };
}
