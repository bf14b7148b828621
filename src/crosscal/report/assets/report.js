"use strict";
// Sort a table by a column: numbers as numbers, text as text.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
    const up = head.getAttribute("aria-sort") !== "ascending";
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const key = (row) => row.cells[column].textContent;
    const rows = [...table.tBodies[0].rows].sort((a, b) => {
      const [s, t] = [key(a), key(b)], [x, y] = [s, t].map(Number);
      // What is not known stands last, whichever way.
      if (!s || !t) return (s ? 0 : 1) - (t ? 0 : 1);
      const order = Number.isNaN(x) || Number.isNaN(y) ? s.localeCompare(t) : x === y ? 0 : x < y ? -1 : 1;
      return up ? order : -order;
    });
    table.tBodies[0].append(...rows);
  }));
}

// Zoom by dragging a box; read values off the axes under the pointer.
function value(axis, fraction) {
  const [low, high] = axis.limits;
  return axis.scale === "log" ? low * Math.pow(high / low, fraction) : low + (high - low) * fraction;
}
// As many digits as the axis needs: a Julian date has seven before they begin to matter.
function shown(axis, fraction) {
  const number = value(axis, fraction), [low, high] = axis.limits, size = Math.abs(number);
  const ratio = Math.max(Math.abs(low), Math.abs(high)) / Math.abs(high - low);
  const digits = Math.min(12, 5 + (axis.scale === "log" ? 0 : Math.max(0, Math.ceil(Math.log10(ratio)))));
  const long = size !== 0 && (size < 1e-3 || size >= 1e7);
  return long ? number.toExponential(digits - 2) : Number(number.toPrecision(digits)).toString();
}
for (const frame of document.querySelectorAll(".zoom")) {
  const image = frame.querySelector("img"), output = frame.parentElement.querySelector(".readoff");
  const axes = JSON.parse(frame.dataset.axes || "[]");
  let view = { x: 0, y: 0, scale: 1 }, start = null, box = null;
  const apply = () => { image.style.transform = `scale(${view.scale}) translate(${-view.x * 100}%, ${-view.y * 100}%)`; };
  const place = (event) => {
    const area = frame.getBoundingClientRect();
    const wide = image.offsetWidth || area.width, high = image.offsetHeight || area.height;
    return { px: event.clientX - area.left, py: event.clientY - area.top,
      x: view.x + (event.clientX - area.left + frame.scrollLeft) / wide / view.scale,
      y: view.y + (event.clientY - area.top) / high / view.scale };
  };
  frame.addEventListener("pointermove", (event) => {
    const at = place(event);
    const panel = axes.find((a) => at.x >= a.box[0] && at.x <= a.box[2] && 1 - at.y >= a.box[1] && 1 - at.y <= a.box[3]);
    output.textContent = panel
      ? `x = ${shown(panel.x, (at.x - panel.box[0]) / (panel.box[2] - panel.box[0]))}, ` +
        `y = ${shown(panel.y, (1 - at.y - panel.box[1]) / (panel.box[3] - panel.box[1]))}` : "";
    if (start && box) {
      box.style.left = `${Math.min(start.px, at.px)}px`; box.style.top = `${Math.min(start.py, at.py)}px`;
      box.style.width = `${Math.abs(at.px - start.px)}px`; box.style.height = `${Math.abs(at.py - start.py)}px`;
    }
  });
  frame.addEventListener("pointerleave", () => { output.textContent = ""; });
  frame.addEventListener("pointerdown", (event) => {
    if (event.pointerType === "touch" || event.button !== 0) return;
    start = place(event);
    box = document.createElement("div"); box.className = "box"; frame.append(box);
    frame.setPointerCapture(event.pointerId);
  });
  frame.addEventListener("pointerup", (event) => {
    if (!start) return;
    const end = place(event), width = Math.abs(end.x - start.x), height = Math.abs(end.y - start.y);
    if (width > 0.01 && height > 0.01) {
      view = { x: Math.min(start.x, end.x), y: Math.min(start.y, end.y), scale: Math.min(1 / width, 1 / height, 40) };
      apply();
    }
    box.remove(); box = null; start = null;
  });
  // A figure at full size: by its button, or by a tap on a touch screen; there the finger moves it.
  const whole = frame.parentElement, button = whole.querySelector(".enlarge");
  const enlarge = () => {
    const large = whole.classList.toggle("enlarged");
    button.setAttribute("aria-pressed", large); button.textContent = large ? "Reduce" : "Enlarge";
  };
  let touched = false;
  frame.addEventListener("pointerdown", (event) => { touched = event.pointerType === "touch"; });
  frame.addEventListener("click", () => { if (touched) enlarge(); });
  button.addEventListener("click", enlarge);
  frame.addEventListener("dblclick", () => { view = { x: 0, y: 0, scale: 1 }; apply(); });
}
