// The settings as the server describes them (`GET /v1/options`), in a form that the controls are made of.

import { title } from "./dom.js";

// Headings and their order. A field that no line names stands under "More", so that a new one is never missing.
const GROUPS = [
  ["Colour", ["strength", "exposure", "warmth", "harmonizer"]],
  ["Light", ["light", "lamp", "lamp_color", "lamp_strength", "shadow"]],
  ["Background", ["blur", "fit"]],
  ["Edge and grain", ["light_wrap", "softness", "grain"]],
  ["Place", ["flip", "scale", "x", "y", "size"]],
  ["Cut-out", ["matting", "person"]],
  ["Video", ["follow", "steadiness", "background_end", "audio", "start", "end", "codec", "crf"]],
];
const LABELS = { x: "Across", y: "Down", scale: "Height of the person", size: "Size of the result", crf: "Quality (CRF)" };

function groupOf(name, given) {
  if (given) return given;
  const known = GROUPS.find(([, names]) => names.includes(name));
  if (known) return known[0];
  return /^(light|lamp|shadow)/.test(name) ? "Light" : "More";
}

/** Turn one property of the JSON Schema into a field: name, label, help, kind, bounds, choices, default. */
export function fieldOf(name, property) {
  const options = [property, ...(property.anyOf ?? property.oneOf ?? [])];
  const types = options.flatMap((option) => option.type ?? []).filter((type) => type !== "null");
  const pick = (key) => options.map((option) => option[key]).find((value) => value !== undefined);
  const choices = pick("enum")?.filter((choice) => choice !== null);
  const items = pick("items") ?? {};
  let kind = types[0] ?? "string";
  if (choices?.length) kind = "choice";
  if (kind === "integer") kind = "number";
  return {
    name, kind, choices,
    whole: types[0] === "integer",
    label: LABELS[name] ?? property.title ?? title(name),
    help: pick("description") ?? "",
    minimum: pick("minimum") ?? items.minimum,
    maximum: pick("maximum") ?? items.maximum,
    count: pick("minItems"),
    default: property.default ?? null,
    group: groupOf(name, property.group),
  };
}

/** Read all fields of a schema by name, with a choice for each kind of network of which there are several. */
export function fieldsOf(schema, networks) {
  const fields = {};
  for (const role of ["harmonizer", "matting"]) {
    const known = networks[role] ?? [];
    if (known.length < 2) continue;
    const named = networks.default?.[role] ?? known[0].name;
    fields[role] = {
      name: role, kind: "choice", choices: known.map((network) => network.name), label: title(role),
      help: "The network that does it.", default: named, group: groupOf(role),
      helps: Object.fromEntries(known.map((network) => [network.name, network.description])),
    };
  }
  for (const [name, property] of Object.entries(schema.properties)) fields[name] = fieldOf(name, property);
  return fields;
}

/** Sort fields under their headings: [["Colour", [field, ...]], ...]. */
export function grouped(fields) {
  const order = GROUPS.map(([heading]) => heading);
  const headings = [...new Set([...order, ...Object.values(fields).map((field) => field.group)])];
  const place = (field) => {
    const names = GROUPS.find(([heading]) => heading === field.group)?.[1] ?? [];
    return names.includes(field.name) ? names.indexOf(field.name) : names.length;
  };
  return headings
    .map((heading) => {
      const members = Object.values(fields).filter((field) => field.group === heading);
      return [heading, members.sort((one, other) => place(one) - place(other))];
    })
    .filter(([, members]) => members.length);
}

/** Keep the settings that a schema knows: a picture has fewer than a video. */
export function known(settings, fields) {
  return Object.fromEntries(Object.entries(settings).filter(([name]) => name in fields || NETWORKS.includes(name)));
}

const NETWORKS = ["harmonizer", "matting"];

/** How far along a slider a value is, 0 to 1. Large ranges are finer where the values are small. */
export function toSlider(field, value) {
  const { minimum: low, maximum: high } = field;
  if (isLogarithmic(field)) return Math.log(value / low) / Math.log(high / low);
  const share = (value - low) / (high - low);
  return isSquare(field) ? Math.sqrt(Math.max(0, share)) : share;
}

export function fromSlider(field, share) {
  const { minimum: low, maximum: high } = field;
  if (isLogarithmic(field)) return low * (high / low) ** share;
  return low + (high - low) * (isSquare(field) ? share * share : share);
}

const isLogarithmic = ({ minimum, maximum }) => minimum > 0 && maximum / minimum >= 100;
const isSquare = ({ minimum, maximum }) => minimum === 0 && maximum >= 50;

/** Round as a person would: to a hundredth, or to whole numbers where the range is wide. */
export function rounded(field, value) {
  if (field.whole) return Math.round(value);
  const range = field.maximum - field.minimum;
  const step = range > 50 ? (value < 10 ? 0.1 : 1) : 0.01;
  return Number((Math.round(value / step) * step).toFixed(2));
}
