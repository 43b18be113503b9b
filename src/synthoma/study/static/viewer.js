// Draws an image from the scanner's own values (int16, little-endian, z y x) on a canvas.

const PRESETS = {
  lung: { width: 1500, level: -600 },
  soft: { width: 400, level: 40 },
  brain: { width: 80, level: 40 },
};
const LARGEST = 16;

export class Viewer {
  // `changed` is called after every change of what is seen.
  constructor(canvas, format, changed) {
    this.canvas = canvas;
    this.format = format;
    this.changed = changed;
    [this.nz, this.ny, this.nx] = format.shape;
    this.small = document.createElement("canvas");
    this.small.width = this.nx;
    this.small.height = this.ny;
    this.values = null;
    this.tool = "window";
    this.pointers = new Map();
    this.view = { slice: Math.floor((this.nz - 1) / 2), zoom: 1, x: 0, y: 0, width: 1, level: 0, invert: false, preset: "auto" };
    this.listen();
    new ResizeObserver(() => this.draw()).observe(canvas);
  }

  show(buffer) {
    const data = new DataView(buffer);
    this.values = new Int16Array(this.nz * this.ny * this.nx);
    for (let i = 0; i < this.values.length; i++) this.values[i] = data.getInt16(2 * i, true);
    this.automatic = this.findWindow();
  }

  // From the 1st to the 99.5th percentile of what lies between the lowest and the highest value.
  findWindow() {
    const counts = new Uint32Array(65536);
    for (const value of this.values) counts[value + 32768]++;
    const { low, high } = this.format;
    let total = 0;
    for (let v = low + 1; v < high; v++) total += counts[v + 32768];
    const at = (share) => {
      let seen = 0;
      for (let v = low + 1; v < high; v++) {
        seen += counts[v + 32768];
        if (seen >= share * total) return v;
      }
      return high;
    };
    if (!total) return { width: high - low, level: (high + low) / 2 };
    const [from, to] = [at(0.01), at(0.995)];
    return { width: Math.max(1, to - from), level: (to + from) / 2 };
  }

  preset(name) {
    const { low, high } = this.format;
    const full = { width: high - low, level: (high + low) / 2 };
    this.set({ ...(name === "auto" ? this.automatic : name === "full" ? full : PRESETS[name]), preset: name });
  }

  set(changes) {
    Object.assign(this.view, changes);
    const { view } = this;
    view.slice = Math.min(this.nz - 1, Math.max(0, Math.round(view.slice)));
    view.width = Math.min(65535, Math.max(1, view.width));
    view.level = Math.min(32767, Math.max(-32768, view.level));
    view.zoom = Math.min(LARGEST, Math.max(0.5, view.zoom));
    this.draw();
    this.changed(view);
  }

  window(wider, higher) {
    const step = this.view.width / 300 + 0.2;
    this.set({ width: this.view.width + wider * step, level: this.view.level + higher * step, preset: "" });
  }

  // Zooms about a place of the canvas (CSS pixels from its centre), which stays where it is.
  zoom(factor, x = 0, y = 0) {
    const before = this.view.zoom;
    const zoom = Math.min(LARGEST, Math.max(0.5, before * factor));
    const share = zoom / before;
    this.set({ zoom, x: x - (x - this.view.x) * share, y: y - (y - this.view.y) * share });
  }

  pan(x, y) {
    this.set({ x: this.view.x + x, y: this.view.y + y });
  }

  draw() {
    const { canvas, view } = this;
    const ratio = devicePixelRatio || 1;
    const [w, h] = [canvas.clientWidth, canvas.clientHeight];
    if (!w || !h) return;
    if (canvas.width !== Math.round(w * ratio)) canvas.width = Math.round(w * ratio);
    if (canvas.height !== Math.round(h * ratio)) canvas.height = Math.round(h * ratio);
    const paper = canvas.getContext("2d");
    paper.setTransform(1, 0, 0, 1, 0, 0);
    paper.fillStyle = "#000";
    paper.fillRect(0, 0, canvas.width, canvas.height);
    if (!this.values) return;
    this.paint();
    const tall = this.ny * this.format.aspect;
    const scale = Math.min(w / this.nx, h / tall) * view.zoom;
    paper.setTransform(ratio, 0, 0, ratio, 0, 0);
    paper.imageSmoothingEnabled = true;
    paper.imageSmoothingQuality = scale * ratio < 1 ? "high" : "low"; // enlarged, "high" overshoots at edges
    const [width, height] = [this.nx * scale, tall * scale];
    paper.drawImage(this.small, (w - width) / 2 + view.x, (h - height) / 2 + view.y, width, height);
  }

  paint() {
    const { view } = this;
    const ink = this.small.getContext("2d");
    const picture = ink.createImageData(this.nx, this.ny);
    const grey = new Uint32Array(picture.data.buffer);
    const low = view.level - view.width / 2;
    const start = view.slice * grey.length;
    for (let i = 0; i < grey.length; i++) {
      let shade = ((this.values[start + i] - low) / view.width) * 255;
      shade = shade < 0 ? 0 : shade > 255 ? 255 : Math.round(shade);
      if (view.invert) shade = 255 - shade;
      grey[i] = 0xff000000 | (shade << 16) | (shade << 8) | shade;
    }
    ink.putImageData(picture, 0, 0);
  }

  listen() {
    const { canvas, pointers } = this;
    const place = (event) => {
      const box = canvas.getBoundingClientRect();
      return { x: event.clientX - box.left - box.width / 2, y: event.clientY - box.top - box.height / 2 };
    };
    const end = (event) => pointers.delete(event.pointerId);
    canvas.addEventListener("pointerdown", (event) => {
      canvas.focus({ preventScroll: true });
      canvas.setPointerCapture(event.pointerId);
      pointers.set(event.pointerId, place(event));
      this.tracked = 0;
      event.preventDefault();
    });
    canvas.addEventListener("pointerup", end);
    canvas.addEventListener("pointercancel", end);
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("dblclick", () => this.set({ zoom: 1, x: 0, y: 0 }));
    canvas.addEventListener("pointermove", (event) => {
      const before = pointers.get(event.pointerId);
      if (!before || !this.values) return;
      const now = place(event);
      pointers.set(event.pointerId, now);
      if (pointers.size === 2) this.pinch(event.pointerId, before, now);
      else if (pointers.size === 1) this.drag(event, now.x - before.x, now.y - before.y);
    });
    canvas.addEventListener(
      "wheel",
      (event) => {
        event.preventDefault();
        if (!this.values) return;
        const { x, y } = place(event);
        if (this.nz > 1 && !event.ctrlKey) {
          this.turned = (this.turned || 0) + event.deltaY;
          const steps = Math.trunc(this.turned / 40) || (event.deltaMode ? Math.sign(event.deltaY) : 0);
          if (steps) this.turned = 0;
          if (steps) this.set({ slice: this.view.slice + Math.max(-3, Math.min(3, steps)) });
        } else this.zoom(Math.exp(-event.deltaY / 500), x, y);
      },
      { passive: false },
    );
  }

  drag(event, x, y) {
    const moves = this.tool === "pan" || event.buttons & 6;
    if (moves) this.pan(x, y);
    else if (this.tool === "slices") {
      this.tracked += y;
      const steps = Math.trunc(this.tracked / 8);
      this.tracked -= steps * 8;
      if (steps) this.set({ slice: this.view.slice + steps });
    } else this.window(x, -y);
  }

  pinch(moved, before, now) {
    const other = [...this.pointers].find(([id]) => id !== moved)[1];
    const apart = (a, b) => Math.hypot(a.x - b.x, a.y - b.y) || 1;
    this.zoom(apart(now, other) / apart(before, other), (now.x + other.x) / 2, (now.y + other.y) / 2);
    this.pan((now.x - before.x) / 2, (now.y - before.y) / 2);
  }
}
