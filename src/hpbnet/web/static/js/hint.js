// Strokes of the brush, and how they are drawn: in white and black for the server, in colours for the eye.
// A stroke is {keep, radius, softness, points: [[x, y], ...]}; all lengths are shares of the portrait's width.

const MOST_SIDE = 2048; // [px] of a hint; the server fits it to the portrait

/** Draw one stroke on a canvas whose full width is `width` pixels. */
export function drawStroke(context, stroke, width, color) {
  const radius = Math.max(0.5, stroke.radius * width);
  context.save();
  context.lineCap = "round";
  context.lineJoin = "round";
  context.strokeStyle = color;
  if (stroke.softness > 0) context.filter = `blur(${(stroke.softness * radius) / 3}px)`;
  context.lineWidth = 2 * radius * (1 - stroke.softness / 3);
  context.beginPath();
  const [first, ...rest] = stroke.points;
  context.moveTo(first[0] * width, first[1] * width);
  if (!rest.length) context.lineTo(first[0] * width + 0.01, first[1] * width);
  for (const [x, y] of rest) context.lineTo(x * width, y * width);
  context.stroke();
  context.restore();
}

/** Draw strokes as the server takes them: RGBA, white keeps, black removes, transparent is unknown. */
export async function drawHint(strokes, { width, height }) {
  const shrink = Math.min(1, MOST_SIDE / Math.max(width, height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(width * shrink));
  canvas.height = Math.max(1, Math.round(height * shrink));
  const context = canvas.getContext("2d");
  for (const stroke of strokes) drawStroke(context, stroke, canvas.width, stroke.keep ? "#ffffff" : "#000000");
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  return blob.arrayBuffer();
}
