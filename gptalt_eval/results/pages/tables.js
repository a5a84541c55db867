// Tables: sorted by a click on a heading, columns to choose, groups to open. The choice is in the address.
function makeTable(table) {
  const key = table.id;
  const head = table.tHead.rows[0];
  const body = table.tBodies[0];
  const headings = [...head.cells];
  const original = [...body.rows];
  const tools = document.querySelector(`.tools[data-for="${key}"]`);
  const keys = new Set();
  for (const heading of headings) { // a task may be called "time"
    while (keys.has(heading.dataset.key)) heading.dataset.key += " 2";
    keys.add(heading.dataset.key);
  }
  const byDefault = new Set(headings.filter(each => each.hidden).map(each => each.dataset.key));
  const isTree = original.some(row => "depth" in row.dataset);

  function valueOf(row, column) {
    const cell = row.cells[column];
    if (cell.dataset.value !== undefined) {
      const value = Number(cell.dataset.value);
      return cell.dataset.value === "" || Number.isNaN(value) ? null : value;
    }
    return cell.textContent.trim() === "–" ? null : cell.textContent.trim();
  }

  // what is missing comes last, in either direction
  function compare(one, other, sign) {
    if (one === null || other === null) return (one === null) - (other === null);
    return sign * (typeof one === "number" && typeof other === "number" ? one - other : String(one).localeCompare(other));
  }

  function sort(name, isUp) {
    const column = headings.findIndex(each => each.dataset.key === name);
    headings.forEach(each => each.removeAttribute("aria-sort"));
    if (column >= 0) headings[column].setAttribute("aria-sort", isUp ? "ascending" : "descending");
    const rows = column < 0 ? original : [...original].sort((a, b) => compare(valueOf(a, column), valueOf(b, column), isUp ? 1 : -1));
    body.append(...rows);
  }

  function choose(hidden) {
    headings.forEach((heading, column) => {
      const isHidden = hidden.has(heading.dataset.key);
      heading.hidden = isHidden;
      for (const row of original) row.cells[column].hidden = isHidden;
    });
  }

  function readHidden() {
    const changed = new Set(address.read().getAll(`${key}-columns`));
    return new Set(headings.map(each => each.dataset.key).filter(name => byDefault.has(name) !== changed.has(name)));
  }

  function writeHidden(hidden) {
    const changed = headings.map(each => each.dataset.key).filter(name => byDefault.has(name) !== hidden.has(name));
    address.setAll(`${key}-columns`, changed);
  }

  function open(names) {
    let closed = Infinity;
    for (const row of original) {
      const depth = Number(row.dataset.depth);
      row.hidden = depth > closed;
      if (row.hidden || "more" in row.dataset) continue; // another metric of the task above, open or closed
      closed = Infinity;
      const button = row.querySelector("button.branch");
      if (!button) continue;
      const isOpen = names.has(row.dataset.name);
      button.setAttribute("aria-expanded", isOpen);
      if (!isOpen) closed = depth;
    }
  }

  function show() {
    const chosen = address.get(`${key}-sort`);
    if (!isTree) sort(chosen.replace(/^-/, ""), !chosen.startsWith("-"));
    choose(readHidden());
    if (isTree) open(new Set(address.read().getAll("open")));
    for (const box of tools.querySelectorAll("input")) box.checked = !readHidden().has(box.value);
  }

  if (!isTree) {
    for (const heading of headings) {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "sort";
      button.append(...heading.childNodes);
      heading.append(button);
      button.onclick = () => {
        // numbers begin with the largest, names and ranks with the first
        const name = heading.dataset.key;
        const first = heading.classList.contains("n") && name !== "rank" ? `-${name}` : name;
        const second = first === name ? `-${name}` : name;
        const now = address.get(`${key}-sort`);
        address.set(`${key}-sort`, now === first ? second : now === second ? "" : first);
        show();
      };
    }
  }

  for (const row of original) {
    if (!row.dataset.branches) continue;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "branch";
    button.append(...row.cells[0].childNodes);
    row.cells[0].append(button);
    button.onclick = () => {
      const names = new Set(address.read().getAll("open"));
      if (!names.delete(row.dataset.name)) names.add(row.dataset.name);
      address.setAll("open", [...names]);
      show();
    };
  }

  function addChooser() {
    const chooser = document.createElement("details");
    chooser.className = "chooser";
    const summary = document.createElement("summary");
    summary.textContent = "Columns";
    chooser.append(summary);
    const groups = new Map();
    for (const heading of headings) {
      if ("always" in heading.dataset) continue;
      const group = heading.dataset.group ?? "";
      if (!groups.has(group)) {
        const set = document.createElement("fieldset");
        const legend = document.createElement("legend");
        legend.textContent = group || "Table";
        set.append(legend);
        groups.set(group, set);
        chooser.append(set);
      }
      const label = document.createElement("label");
      const box = document.createElement("input");
      box.type = "checkbox";
      box.value = heading.dataset.key;
      box.onchange = () => {
        const hidden = readHidden();
        if (box.checked) hidden.delete(box.value);
        else hidden.add(box.value);
        writeHidden(hidden);
        show();
      };
      label.append(box, heading.dataset.title ?? heading.dataset.key);
      groups.get(group).append(label);
    }
    tools.append(chooser);
  }

  addChooser();
  addExports(table, tools);
  address.onChange(show);
  show();
}
