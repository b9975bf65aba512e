// Live composition: the camera's frames go to the server over a websocket and come back composed. The newest frame wins.

import { Problem } from "./api.js";
import { closeCamera, openCamera } from "./camera.js";

const WIDTH = 640;
const HEIGHT = 480;
const QUALITY = 0.85; // of the JPEG frames that are sent
const MOST_UNDER_WAY = 2; // frames on the server at once: one in work, one that waits
const SILENCE = 1000; // [ms] without an answer, after which frames are taken to be lost

export class Live extends EventTarget {
  #socket = null;
  #stream = null;
  #video = document.createElement("video");
  #canvas = document.createElement("canvas");
  #underWay = 0;
  #times = []; // [ms] of the latest answers
  #sent = 0; // when [ms]
  #last = -1; // time of the camera's frame that was sent last

  get isOn() {
    return this.#socket !== null;
  }

  get rate() {
    const [first, last] = [this.#times[0], this.#times.at(-1)];
    return this.#times.length > 1 ? ((this.#times.length - 1) * 1000) / (last - first) : 0;
  }

  /** Begin.  Throws: Problem where there is no camera. Later problems come as events. */
  async start(path, settings) {
    this.#stream = await openCamera({ width: { ideal: WIDTH }, height: { ideal: HEIGHT } });
    this.#video.srcObject = this.#stream;
    this.#video.muted = this.#video.playsInline = true;
    await this.#video.play();
    const url = new URL(path, location.href);
    url.protocol = url.protocol.replace("http", "ws");
    const socket = new WebSocket(url);
    socket.binaryType = "blob";
    this.#socket = socket;
    [this.#underWay, this.#times] = [0, []];
    socket.addEventListener("open", () => {
      this.send(settings);
      this.#tick();
    });
    socket.addEventListener("message", ({ data }) => (typeof data === "string" ? this.#told(data) : this.#frame(data)));
    socket.addEventListener("close", (event) => {
      if (this.#socket !== socket) return;
      this.stop();
      if (event.code !== 1000) this.#fail(new Problem(0, "The live picture has ended", event.reason || "Start it again."));
    });
  }

  send(settings) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(settings));
  }

  stop() {
    const socket = this.#socket;
    this.#socket = null;
    closeCamera(this.#stream);
    this.#stream = this.#video.srcObject = null;
    if (socket && socket.readyState <= WebSocket.OPEN) socket.close(1000);
    this.dispatchEvent(new Event("stop"));
  }

  #tick() {
    if (!this.isOn) return;
    if (performance.now() - Math.max(this.#sent, this.#times.at(-1) ?? 0) > SILENCE) this.#underWay = 0;
    if (this.#underWay < MOST_UNDER_WAY && this.#video.currentTime !== this.#last) this.#send();
    if (this.#video.requestVideoFrameCallback) this.#video.requestVideoFrameCallback(() => this.#tick());
    else setTimeout(() => this.#tick(), 20);
  }

  #send() {
    const { videoWidth: width, videoHeight: height } = this.#video;
    if (!width) return;
    this.#last = this.#video.currentTime;
    this.#canvas.width = width;
    this.#canvas.height = height;
    this.#canvas.getContext("2d").drawImage(this.#video, 0, 0);
    this.#underWay += 1;
    this.#sent = performance.now();
    this.#canvas.toBlob((blob) => {
      if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(blob);
    }, "image/jpeg", QUALITY);
  }

  async #frame(blob) {
    this.#underWay = Math.max(0, this.#underWay - 1);
    this.#times.push(performance.now());
    if (this.#times.length > 30) this.#times.shift();
    const bitmap = await createImageBitmap(blob).catch(() => null);
    if (bitmap && this.isOn) this.dispatchEvent(new CustomEvent("frame", { detail: bitmap }));
  }

  #told(text) {
    this.#underWay = Math.max(0, this.#underWay - 1); // an error answers a frame, too
    const { title, detail } = JSON.parse(text);
    if (title || detail) this.#fail(new Problem(0, title ?? "The frame was refused", detail ?? ""));
  }

  #fail(problem) {
    this.dispatchEvent(new CustomEvent("problem", { detail: problem }));
  }
}
