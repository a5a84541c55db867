// The list of items: all have one height, so that only those in sight are in the page.
const itemList = (() => {
  const HEIGHT = 32; // of a row in pixels, as items.css says
  const MORE = 8; // rows above and below those in sight
  let box, field, items = [], current = -1, drawRow, choose;

  function start(element, options) {
    box = element;
    ({ drawRow, choose } = options);
    field = document.createElement("div");
    field.className = "items-rows";
    field.setAttribute("role", "presentation");
    box.replaceChildren(field);
    box.addEventListener("scroll", draw, { passive: true });
    new ResizeObserver(draw).observe(box);
    box.addEventListener("click", event => {
      const row = event.target.closest("[data-place]");
      if (row) move(Number(row.dataset.place), true);
    });
    box.addEventListener("keydown", event => {
      const page = Math.max(1, Math.floor(box.clientHeight / HEIGHT) - 1);
      const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -items.length, End: items.length };
      if (event.altKey || event.ctrlKey || event.metaKey || !(event.key in steps) || !items.length) return;
      event.preventDefault();
      step(steps[event.key]);
    });
  }

  function show(found, chosen) {
    items = found;
    current = chosen;
    field.style.height = `${Math.max(items.length, 1) * HEIGHT}px`;
    reveal();
    draw();
  }

  function step(count) {
    if (items.length) move(Math.min(Math.max(current + count, 0), items.length - 1));
  }

  function move(place, isClick = false) {
    current = place;
    reveal();
    draw();
    choose(items[place], isClick);
  }

  function reveal() {
    if (current < 0) return;
    const top = current * HEIGHT;
    if (top < box.scrollTop) box.scrollTop = top;
    else if (top + HEIGHT > box.scrollTop + box.clientHeight) box.scrollTop = top + HEIGHT - box.clientHeight;
  }

  function draw() {
    const first = Math.max(0, Math.floor(box.scrollTop / HEIGHT) - MORE);
    const last = Math.min(items.length, Math.ceil((box.scrollTop + box.clientHeight) / HEIGHT) + MORE);
    const rows = [];
    for (let place = first; place < last; place++) {
      const row = document.createElement("div");
      row.id = `items-row-${place}`;
      row.className = "items-row";
      row.dataset.place = place;
      row.style.top = `${place * HEIGHT}px`;
      row.setAttribute("role", "option");
      row.setAttribute("aria-posinset", place + 1);
      row.setAttribute("aria-setsize", items.length);
      row.setAttribute("aria-selected", place === current);
      drawRow(row, items[place]);
      rows.push(row);
    }
    field.replaceChildren(...rows);
    const isDrawn = current >= first && current < last;
    if (isDrawn) box.setAttribute("aria-activedescendant", `items-row-${current}`);
    else box.removeAttribute("aria-activedescendant");
  }
  return { start, show, step, draw, focus: () => box.focus() };
})();
