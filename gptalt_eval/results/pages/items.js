// Chooses items: by task, subject, text and result. What is chosen is in the page's address.
(() => {
  const section = document.getElementById("items");
  if (!section || typeof DecompressionStream === "undefined") return;
  const { make, mark, say, write, show: showItem } = itemView;
  const browser = section.querySelector(".items-browser");
  const state = { found: [], item: null, round: 0 };
  const controls = {};
  const isWrong = verdict => verdict === "wrong" || verdict === "none";
  const SHOWN = [
    ["", "all items", () => true],
    ["wrong", "wrong in the first", ({ a }) => isWrong(a)],
    ["right", "right in the first", ({ a }) => a === "right"],
    ["no_answer", "no answer in the first", ({ a }) => a === "none"],
    ["first", "right in the first, wrong in the second", ({ a, b }) => a === "right" && isWrong(b)],
    ["second", "wrong in the first, right in the second", ({ a, b }) => isWrong(a) && b === "right"],
    ["cut", "truncated in the first", ({ item, arm }) => itemData.isCut(item, arm)],
    ["differ", "arms disagree", ({ all }) => all.includes("right") && all.some(isWrong)],
    ["all_wrong", "wrong in all arms", ({ all }) => !all.includes("right") && all.some(isWrong)],
  ];

  function addControl(key, label, element) {
    element.id = `items-${key}`;
    const named = make("label", "", label);
    named.htmlFor = element.id;
    controls[key] = element;
    element.addEventListener(element.type === "search" ? "input" : "change", () => {
      address.set(key, element.value);
      if (key === "task") for (const other of ["part", "metric"]) address.set(other, "");
      update();
    });
    return make("div", `items-control-${key}`, named, element);
  }

  function fill(select, choices, value) {
    select.replaceChildren(...choices.map(([choice, text]) => {
      const option = make("option");
      option.value = choice;
      option.textContent = text;
      return option;
    }));
    select.value = choices.some(([choice]) => choice === value) ? value : choices[0]?.[0] ?? "";
  }

  function build() {
    const search = make("input");
    search.type = "search";
    search.placeholder = "question, options, replies";
    const several = itemData.arms.length > 1;
    const bar = make("div", "items-controls",
      addControl("task", "Task", make("select")), addControl("part", "Part", make("select")),
      addControl("q", "Search", search), addControl("show", "Show", make("select")),
      addControl("a", "First arm", make("select")), addControl("b", "Second arm", make("select")),
      addControl("metric", "Metric", make("select")));
    for (const key of ["a", "b"]) controls[key].parentElement.hidden = !several;
    state.count = make("output", "items-count");
    state.head = make("div", "items-head");
    state.head.setAttribute("aria-hidden", "true");
    state.box = make("div", "items-list");
    state.box.tabIndex = 0;
    state.box.setAttribute("role", "listbox");
    state.box.setAttribute("aria-label", "items");
    state.view = make("article", "items-view");
    state.view.tabIndex = -1;
    state.view.setAttribute("aria-label", "the chosen item");
    const keys = make("p", "sub items-keys", "Keys: ↑ ↓ or j k: items · Enter: read · Esc: back · Home, End · /: search");
    browser.replaceChildren(bar, state.count, make("div", "items-panes", make("div", "items-left", state.head, state.box, keys), state.view));
    itemList.start(state.box, { drawRow, choose });
  }

  const topEntries = () => itemData.tree.filter(([, depth]) => depth === 0);
  const arms = () => (itemData.arms.length > 1 ? [Number(controls.a.value), Number(controls.b.value)] : [0]);

  // the controls as the address says; what it does not say is the first choice
  function fillControls() {
    const wanted = address.get("item").slice(0, address.get("item").lastIndexOf("/"));
    const holds = ([, , members]) => members.some(place => itemData.tasks[place].name === wanted);
    const tops = topEntries();
    const owner = !address.get("task") && wanted ? tops.find(holds)?.[0] : findOwner(tops);
    fill(controls.task, tops.map(([name, , members]) => [name, `${name} (${count(members).toLocaleString("en")})`]),
      owner || address.get("task"));
    controls.q.value = address.get("q");
    const several = itemData.arms.length > 1;
    const shown = several ? SHOWN : SHOWN.filter(([, text]) => !/second|arms/.test(text));
    fill(controls.show, shown.map(([key, text]) => [key, several ? text : text.replace(" in the first", "")]), address.get("show"));
    const named = itemData.arms.map(({ name }, place) => [String(place), name]);
    fill(controls.a, named, address.get("a"));
    fill(controls.b, named, address.get("b") || (controls.a.value === "1" ? "0" : "1"));
  }

  // a link may name a group that only other runs have: what is asked for is then where this page has it
  function findOwner(tops) {
    const [task, part] = [address.get("task"), address.get("part")];
    if (tops.some(([name]) => name === task)) return task;
    const asked = itemData.tree.find(([name]) => name === part) ?? itemData.tree.find(([name]) => name === task);
    return asked && tops.find(([, , members]) => asked[2].every(place => members.includes(place)))?.[0];
  }

  const count = members => members.reduce((sum, place) => sum + itemData.tasks[place].count, 0);

  function fillParts(top, tasks) {
    const at = itemData.tree.indexOf(top);
    const choices = [["", "all"]];
    for (const [name, depth, members] of itemData.tree.slice(at + 1)) {
      if (!depth) break;
      choices.push([name, "\u00a0\u00a0".repeat(depth - 1) + `${name} (${count(members).toLocaleString("en")})`]);
    }
    const subjects = tasks.length === 1 ? tasks[0].subjects.filter(Boolean) : [];
    if (subjects.length > 1) for (const subject of [...subjects].sort()) choices.push([`subject:${subject}`, subject]);
    fill(controls.part, choices, address.get("part"));
    controls.part.parentElement.hidden = choices.length < 2;
  }

  function fillMetrics(tasks) {
    const names = new Set();
    for (const task of tasks) for (const arm of task.arms.values()) for (const name of arm.metrics.keys()) names.add(name);
    fill(controls.metric, [["", "the main one"], ...[...names].map(name => [name, name])], address.get("metric"));
    controls.metric.parentElement.hidden = names.size < 2;
  }

  async function update({ isOpened = false } = {}) {
    const round = ++state.round;
    fillControls();
    const top = topEntries().find(([name]) => name === controls.task.value);
    const parts = itemData.tree.filter(entry => entry[0] === address.get("part"));
    const [, , members] = parts.find(([, , each]) => each.every(place => top[2].includes(place))) ?? top;
    itemView.find(controls.q.value);
    await drawEarly(address.get("item"), round);
    const tasks = await Promise.all(members.map(place => itemData.load(itemData.tasks[place])));
    if (round !== state.round) return; // the reader has chosen something else meanwhile
    fillParts(top, tasks);
    fillMetrics(tasks);
    state.tasks = tasks;
    state.found = filter(tasks);
    const all = tasks.reduce((sum, task) => sum + task.count, 0);
    state.count.textContent = `${state.found.length.toLocaleString("en")} of ${all.toLocaleString("en")} items`;
    drawHead();
    const name = address.get("item");
    const place = state.found.findIndex(item => item.name === name);
    const hidden = place < 0 && name ? tasks.flatMap(task => task.items).find(item => item.name === name) : null;
    state.item = state.found[place] ?? hidden ?? null;
    itemList.show(state.found, place);
    drawItem();
    if (isOpened && state.item) {
      section.scrollIntoView();
      itemList.focus();
    }
  }

  // the item of a link, before all others of its group are decompressed
  async function drawEarly(name, round) {
    const task = itemData.tasks.find(each => name.startsWith(`${each.name}/`));
    if (!task) return;
    await itemData.load(task);
    const item = task.items.find(each => each.name === name);
    if (!item || round !== state.round) return;
    state.item = item;
    drawItem();
  }

  function filter(tasks) {
    const [, , fits] = SHOWN.find(([key]) => key === controls.show.value);
    const [a, b] = arms();
    const metric = controls.metric.value;
    const query = controls.q.value;
    const subject = controls.part.value.startsWith("subject:") ? controls.part.value.slice(8) : null;
    const places = [...itemData.arms.keys()];
    const found = [];
    for (const task of tasks) {
      const hasText = query ? itemData.search(task, query) : () => true;
      for (const item of task.items) {
        if (!hasText(item.row) || (subject !== null && item.subject !== subject)) continue;
        const all = controls.show.value ? places.map(place => itemData.judge(item, place, metric)) : [];
        if (fits({ all, a: all[a], b: all[b], item, arm: a })) found.push(item);
      }
    }
    return found;
  }

  // the arms whose marks the list shows: the chosen two if there are many
  const marked = () => (itemData.arms.length > 8 ? arms() : [...itemData.arms.keys()]);

  function drawHead() {
    const chosen = arms();
    const names = marked().map(place => {
      const each = make("span", "items-mark", itemData.arms.length > 1 ? String(place + 1) : "");
      if (itemData.arms.length > 1) each.classList.toggle("is-chosen", chosen.includes(place));
      each.title = itemData.arms[place].whole;
      return each;
    });
    state.head.replaceChildren(make("span", "items-place", "item"), make("span", "items-marks", ...names), make("span", "", "question"));
  }

  function drawRow(row, item) {
    const metric = controls.metric.value;
    const verdicts = marked().map(place => itemData.judge(item, place, metric));
    const isPart = state.tasks.length > 1;
    const title = itemData.title(item);
    const text = make("span", "items-text");
    write(text, title);
    row.append(make("span", "items-place", String(item.number)), make("span", "items-marks", ...verdicts.map(mark)));
    const group = `${controls.task.value}_`; // its name is before those of its members
    const part = item.task.name.startsWith(group) ? item.task.name.slice(group.length) : item.task.name;
    if (isPart) row.append(write(make("span", "items-subject"), part));
    row.append(text);
    const right = verdicts.filter(verdict => verdict === "right").length;
    const result = verdicts.length > 1 ? `correct in ${right} of ${verdicts.length}` : say(verdicts[0]);
    row.setAttribute("aria-label", `${isPart ? `${item.task.name} ` : ""}item ${item.number}, ${result}: ${title}`);
  }

  function choose(item, isClick) {
    state.item = item;
    address.set("item", item.name);
    drawItem();
    const isBelow = state.view.offsetTop > state.box.offsetTop + state.box.offsetHeight / 2; // on a phone
    if (isClick && isBelow) state.view.scrollIntoView();
  }

  function drawItem() {
    const item = state.item ?? state.found[0];
    section.classList.toggle("items-chosen", Boolean(state.item)); // only then it is printed
    if (!item) {
      state.view.replaceChildren(make("p", "sub", "No item fits."));
      return;
    }
    const link = address.read();
    link.set("item", item.name);
    if (!link.get("task")) link.set("task", controls.task.value);
    showItem(state.view, item, { arms: arms(), metric: controls.metric.value, link: `#${link}` });
    state.view.scrollTop = 0;
  }

  function onKey(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const isField = event.target.matches("input, select, textarea");
    if (event.key === "/" && !isField) {
      event.preventDefault();
      controls.q.focus();
    } else if (event.key === "Escape" && section.contains(event.target)) {
      if (event.target === controls.q && controls.q.value) return; // the browser empties the field
      itemList.focus();
    } else if (section.contains(event.target) && !isField && (event.key === "j" || event.key === "k")) {
      itemList.step(event.key === "j" ? 1 : -1);
    } else if (event.key === "Enter" && (event.target === state.box || event.target === controls.q)) {
      event.target === state.box ? state.view.focus() : itemList.focus();
    }
  }

  async function start() {
    await itemData.open();
    build();
    addEventListener("keydown", onKey);
    address.onChange(() => update());
    await update({ isOpened: Boolean(address.get("item")) });
    section.classList.add("items-ready");
  }

  section.classList.add("items-live");
  const isAsked = ["task", "part", "q", "show", "item"].some(key => address.get(key));
  let isStarted = false;
  const startOnce = () => {
    if (!isStarted) start();
    isStarted = true;
  };
  if (isAsked) startOnce();
  new IntersectionObserver(entries => entries.some(entry => entry.isIntersecting) && startOnce(), { rootMargin: "300px" })
    .observe(section);
  addEventListener("keydown", event => {
    if (event.key === "/" && !isStarted && !event.target.matches("input, select, textarea")) {
      event.preventDefault();
      startOnce();
      section.scrollIntoView();
    }
  });
  address.onChange(startOnce);
})();
