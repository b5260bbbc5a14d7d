// Two trajectories side by side: ligand and pocket, one clock, linked cameras. Data: window.trajectories.
"use strict";

function decodeFrames(encoded, nAtoms) {
  const bytes = Uint8Array.from(atob(encoded.coordinates), (c) => c.charCodeAt(0));
  const numbers = new Int16Array(bytes.buffer);
  const frames = [];
  for (let start = 0; start < numbers.length; start += 3 * nAtoms) {
    const frame = new Float32Array(3 * nAtoms);
    for (let k = 0; k < 3 * nAtoms; k++) frame[k] = numbers[start + k] * encoded.resolution;
    frames.push(frame);
  }
  return frames;
}

class Panel {
  constructor(screen, clock) {
    this.viewer = $3Dmol.createViewer(screen, { backgroundColor: "white" });
    this.clock = clock;
    this.shown = null;
  }

  load(trajectory) {
    this.trajectory = trajectory;
    this.viewer.removeAllModels();
    this.model = this.viewer.addModel(trajectory.pdb, "pdb", { keepH: true });
    this.atoms = this.model.selectedAtoms({});
    this.frames = decodeFrames(trajectory, this.atoms.length);
    const ligand = { resn: trajectory.ligand };
    this.model.setStyle({}, { stick: { radius: 0.07, color: "#b8bfcc" } });
    this.model.setStyle(ligand, { stick: { radius: 0.19, colorscheme: { prop: "elem", map: this.colors(trajectory.color) } } });
    this.shown = null;
    this.show(0);
    this.viewer.zoomTo(ligand);
    this.viewer.zoom(0.62);
    this.viewer.render();
  }

  colors(carbon) {
    return { C: carbon, N: "#3050f8", O: "#e02b20", S: "#d9a400", Cl: "#1fae3c", F: "#5fc23a", Br: "#a62929", P: "#ff8000", I: "#940094", H: "#e8e8e8" };
  }

  show(time) {
    const times = this.trajectory.times;
    const period = times[times.length - 1] + (times.length > 1 ? times[1] - times[0] : 1);
    const wrapped = time % period;
    let frame = times.findIndex((t) => t > wrapped) - 1;
    if (frame < -1) frame = times.length - 1;
    frame = Math.max(0, frame);
    this.clock.textContent = (times[frame] / 1000).toFixed(2) + " ns";
    if (frame === this.shown) return;
    this.shown = frame;
    const xyz = this.frames[frame];
    this.atoms.forEach((atom, k) => {
      atom.x = xyz[3 * k];
      atom.y = xyz[3 * k + 1];
      atom.z = xyz[3 * k + 2];
    });
    this.model.setStyle({ resn: "no such residue" }, {}); // marks the model's geometry as outdated
    this.model.molObj = null;
    this.viewer.render();
  }
}

window.addEventListener("load", () => {
  const find = (id) => document.getElementById(id);
  if (!window.trajectories || !find("screen-left")) return;
  const panels = [new Panel(find("screen-left"), find("clock-left")), new Panel(find("screen-right"), find("clock-right"))];
  panels[0].load(window.trajectories[0]);
  panels[1].load(window.trajectories[1]);
  panels[0].viewer.linkViewer(panels[1].viewer);
  panels[1].viewer.linkViewer(panels[0].viewer);
  panels[1].viewer.setView(panels[0].viewer.getView());
  const slider = find("time");
  const longest = Math.max(...window.trajectories.map((t) => t.times[t.times.length - 1]));
  const step = Math.min(...window.trajectories.map((t) => (t.times.length > 1 ? t.times[1] - t.times[0] : longest)));
  slider.max = Math.max(1, Math.round(longest / step));
  const show = () => panels.forEach((p) => p.show(slider.value * step));
  slider.addEventListener("input", show);
  find("reference").addEventListener("change", (event) => {
    const view = panels[0].viewer.getView();
    panels[1].load(window.trajectories[Number(event.target.value)]);
    panels[1].viewer.setView(view);
    show();
  });
  let timer = null;
  find("play").addEventListener("click", () => {
    if (timer) {
      clearInterval(timer);
      timer = null;
    } else {
      timer = setInterval(() => {
        slider.value = (Number(slider.value) + 1) % (Number(slider.max) + 1);
        show();
      }, 90);
    }
    find("play").textContent = timer ? "Pause" : "Play";
  });
  show();
  window.panels = panels;
});
