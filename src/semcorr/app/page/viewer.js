// Images with heat maps and numbered points. Runs once for each viewer; `element`, `props`, `watch` and `trigger` are
// Gradio's. Its events are 'mark' (a click on the image), 'drag' (a point moved) and 'pick' (a point clicked).
// All coordinates are continuous pixels of the original image: (0, 0) is its top-left corner.
const SVG = 'http://www.w3.org/2000/svg';
const MIN_WIDTH = 60, SLOP = 4;
const zooms = {};

function make(tag, attributes, parent) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === 'text') node.textContent = value; else node.setAttribute(name, value);
  }
  if (parent) parent.appendChild(node);
  return node;
}

function shape(tag, attributes, parent) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  parent.appendChild(node);
  return node;
}

function fitted(panel, cell, highest, zoom) {
  const room = Math.max(cell.clientWidth - 2, MIN_WIDTH);
  const scale = Math.min(room / panel.width, highest / panel.height) * zoom;
  return [panel.width * scale, panel.height * scale];
}

function locationOf(event, stage, panel) {
  const box = stage.getBoundingClientRect();
  const x = (event.clientX - box.left) / box.width * panel.width;
  const y = (event.clientY - box.top) / box.height * panel.height;
  return [Math.min(Math.max(x, 0), panel.width), Math.min(Math.max(y, 0), panel.height)];
}

function drawPoints(stage, panel) {
  const old = stage.querySelector('svg');
  if (old) old.remove();
  const [width, height] = [stage.clientWidth, stage.clientHeight];
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('viewBox', `0 0 ${width} ${height}`);
  svg.setAttribute('class', 'sc-marks');
  panel.points.forEach((point, index) => {
    const [x, y] = [point.x / panel.width * width, point.y / panel.height * height];
    const state = (point.active ? ' sc-active' : '') + (point.outdated ? ' sc-outdated' : '') +
      (point.pending ? ' sc-pending' : '');
    // A point that is not found yet has no location, but keeps its number.
    if (point.x === null) return;
    const group = shape('g', {'class': 'sc-point' + state, 'data-index': index}, svg);
    const title = document.createElementNS(SVG, 'title');
    title.textContent = point.title;
    group.appendChild(title);
    if (point.truth) {
      const [tx, ty] = [point.truth[0] / panel.width * width, point.truth[1] / panel.height * height];
      shape('line', {x1: x, y1: y, x2: tx, y2: ty, stroke: point.colour, 'stroke-width': 2}, group);
      shape('circle', {cx: tx, cy: ty, r: 8, fill: 'none', stroke: '#fff', 'stroke-width': 4}, group);
      shape('circle', {cx: tx, cy: ty, r: 8, fill: 'none', stroke: point.colour, 'stroke-width': 2}, group);
    }
    const [bx, by] = [Math.min(x + 13, width - 9), y < 22 ? y + 13 : y - 13];
    shape('circle', {cx: x, cy: y, r: point.active ? 8.5 : 6.5, fill: point.dot || point.colour, stroke: '#fff',
      'stroke-width': 2}, group);
    shape('circle', {cx: x, cy: y, r: point.active ? 10 : 8, fill: 'none', stroke: '#111', 'stroke-width': 1.2,
      'stroke-dasharray': point.moved || point.pending ? '3 2' : 'none'}, group);
    shape('circle', {cx: bx, cy: by, r: 8.5, fill: point.colour, stroke: '#111', 'stroke-width': 0.8}, group);
    const text = shape('text', {x: bx, y: by + 3.8, 'text-anchor': 'middle'}, group);
    text.textContent = point.label;
  });
  stage.appendChild(svg);
}

function listen(stage, panel, number) {
  let held = null;
  const pointAt = event => {
    const group = event.target.closest ? event.target.closest('.sc-point') : null;
    return group ? Number(group.dataset.index) : null;
  };
  stage.addEventListener('pointerdown', event => {
    if (event.button !== 0 || panel.mode === 'view') return;
    event.preventDefault();
    held = {index: pointAt(event), x: event.clientX, y: event.clientY, moved: false};
    stage.setPointerCapture(event.pointerId);
  });
  stage.addEventListener('pointermove', event => {
    if (!held || held.index === null) return;
    if (Math.hypot(event.clientX - held.x, event.clientY - held.y) > SLOP) held.moved = true;
    if (held.moved) {
      [panel.points[held.index].x, panel.points[held.index].y] = locationOf(event, stage, panel);
      drawPoints(stage, panel);
    }
  });
  stage.addEventListener('pointerup', event => {
    if (!held) return;
    const released = held;
    held = null;
    const [x, y] = locationOf(event, stage, panel);
    if (released.index !== null && released.moved) trigger('drag', {panel: number, index: released.index, x, y});
    else if (released.index !== null) trigger('pick', {panel: number, index: released.index});
    else trigger('mark', {panel: number, x, y});
  });
  stage.addEventListener('pointercancel', () => { held = null; });
}

function zoomButtons(head, number, redraw) {
  const buttons = make('span', {'class': 'sc-zoom'}, head);
  for (const [sign, factor, label] of [['−', 0.5, 'zoom out'], ['+', 2, 'zoom in']]) {
    const button = make('button', {type: 'button', title: label, 'aria-label': label, text: sign}, buttons);
    button.addEventListener('click', () => {
      zooms[number] = Math.min(Math.max((zooms[number] || 1) * factor, 1), 32);
      redraw();
    });
  }
}

function drawPanel(grid, panel, number, highest) {
  const cell = make('figure', {'class': 'sc-panel'}, grid);
  const head = make('figcaption', {}, cell);
  make('span', {text: panel.title, 'class': 'sc-title', title: panel.title}, head);
  const frame = make('div', {'class': 'sc-frame', style: `max-height: ${highest + 12}px`}, cell);
  const stage = make('div', {'class': `sc-stage sc-${panel.mode}` + (panel.heat ? ' sc-hot' : '')}, frame);
  const redraw = () => {
    const [width, height] = fitted(panel, cell, highest, zooms[number] || 1);
    stage.style.width = width + 'px';
    stage.style.height = height + 'px';
    drawPoints(stage, panel);
  };
  zoomButtons(head, number, redraw);
  make('img', {src: panel.src, 'class': 'sc-base', alt: panel.title, draggable: 'false'}, stage);
  if (panel.heat) make('img', {src: panel.heat, 'class': 'sc-heat', alt: 'heat map', draggable: 'false'}, stage);
  redraw();
  listen(stage, panel, number);
  return redraw;
}

let redraws = [];
function draw() {
  const root = element.querySelector('.sc-viewer');
  const value = props.value;
  if (!root || !value) return;
  // Keep height and scroll positions: without this the page jumps while the new images load.
  const scrolls = [...root.querySelectorAll('.sc-frame')].map(frame => [frame.scrollLeft, frame.scrollTop]);
  const height = root.offsetHeight;
  root.style.minHeight = height + 'px';
  root.textContent = '';
  if (!value.panels.length) make('div', {'class': 'sc-empty', text: value.empty}, root);
  const grid = make('div', {'class': `sc-grid sc-columns-${value.columns}`}, root);
  // A copy: the server confirms what a drag moves here.
  const panels = JSON.parse(JSON.stringify(value.panels));
  redraws = panels.map((panel, number) => drawPanel(grid, panel, number, value.height));
  root.querySelectorAll('.sc-frame').forEach((frame, number) => {
    if (scrolls[number]) [frame.scrollLeft, frame.scrollTop] = scrolls[number];
  });
  // Once more when all panels are there: the first ones were drawn alone, with more room.
  redraws.forEach(redraw => redraw());
  root.style.minHeight = '';
  root.dataset.drawn = String(Number(root.dataset.drawn || 0) + 1);
}

let width = 0;
new ResizeObserver(entries => {
  const now = entries[0].contentRect.width;
  if (Math.abs(now - width) > 1) { width = now; redraws.forEach(redraw => redraw()); }
}).observe(element);
watch('value', draw);
draw();
