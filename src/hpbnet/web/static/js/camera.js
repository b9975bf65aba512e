// The computer's camera: one picture for a place, or a stream for live composition. Nothing is kept or sent elsewhere.

import { Problem } from "./api.js";
import { find } from "./dom.js";

/** Open the camera.  Throws: Problem with what to do. */
export async function openCamera(constraints) {
  if (!navigator.mediaDevices?.getUserMedia) {
    throw new Problem(0, "The camera cannot be used here",
      "Browsers allow it on this computer's own address (127.0.0.1 or localhost) or over https only.");
  }
  try {
    return await navigator.mediaDevices.getUserMedia({ video: constraints, audio: false });
  } catch (error) {
    const reasons = {
      NotAllowedError: "Allow this page to use the camera, in the browser's address bar, and try again.",
      NotFoundError: "Connect a camera and try again.",
      NotReadableError: "Close the other program that uses the camera and try again.",
    };
    throw new Problem(0, "The camera cannot be opened", reasons[error.name] ?? String(error.message));
  }
}

export const closeCamera = (stream) => stream?.getTracks().forEach((track) => track.stop());

/** Ask for a picture in a dialog -> a File, or null where the dialog is closed. */
export async function takePicture(role) {
  const stream = await openCamera({ width: { ideal: 1920 }, height: { ideal: 1080 }, facingMode: role === "portrait" ? "user" : "environment" });
  const dialog = find("#camera");
  const video = find("video", dialog);
  video.srcObject = stream;
  video.classList.toggle("is-mirrored", role === "portrait");
  find("h2", dialog).textContent = role === "portrait" ? "Take a portrait" : "Take a background";
  dialog.returnValue = "";
  dialog.showModal();
  await video.play().catch(() => {});
  await new Promise((resolve) => dialog.addEventListener("close", resolve, { once: true }));
  const file = dialog.returnValue === "take" ? await still(video, `${role}-from-camera.png`) : null;
  closeCamera(stream);
  video.srcObject = null;
  return file;
}

async function still(video, name) {
  const canvas = document.createElement("canvas");
  canvas.width = video.videoWidth;
  canvas.height = video.videoHeight;
  if (!canvas.width) return null;
  canvas.getContext("2d").drawImage(video, 0, 0);
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  return new File([blob], name, { type: "image/png" });
}
