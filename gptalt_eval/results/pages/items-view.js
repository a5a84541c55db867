// One item in full.
const itemView = (() => {
  //: what would steer the page's text is shown instead: as in gptalt_eval/machine/plain.py
  const STEERING =
    /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]/gu;
  const MARKS = { right: "✓", wrong: "✗", none: "○", absent: "·", unknown: "?" };
  const SAID = { right: "correct", wrong: "incorrect", none: "no answer", absent: "not evaluated", unknown: "not judged" };
  let query = "";

  function make(name, className, ...children) {
    const element = document.createElement(name);
    if (className) element.className = className;
    element.append(...children);
    return element;
  }

  // a text of others; control characters and changes of the writing direction are named
  function write(element, text) {
    let end = 0;
    for (const found of text.matchAll(STEERING)) {
      writeFound(element, text.slice(end, found.index));
      const code = found[0].codePointAt(0).toString(16).toUpperCase().padStart(4, "0");
      element.append(make("span", "items-control", `⟨U+${code}⟩`));
      end = found.index + found[0].length;
    }
    writeFound(element, text.slice(end));
    return element;
  }

  function writeFound(element, text) {
    const lower = query ? text.toLowerCase() : "";
    let end = 0;
    // a letter may be longer in lower case: then places do not fit, and nothing is marked
    for (let at = lower.length === text.length ? lower.indexOf(query) : -1; query && at >= 0; at = lower.indexOf(query, end)) {
      element.append(text.slice(end, at), make("mark", "", text.slice(at, at + query.length)));
      end = at + query.length;
    }
    if (end < text.length) element.append(text.slice(end));
  }

  function mark(verdict) {
    if (typeof verdict === "number" || !(verdict in MARKS)) return make("span", "items-mark", short(verdict));
    return make("span", `items-mark is-${verdict}`, MARKS[verdict]);
  }

  const say = verdict => SAID[verdict] ?? short(verdict);
  const short = value => (typeof value === "number" ? String(Number(value.toPrecision(4))) : String(value));

  // with the digits that the page has: of large numbers two after the point
  const precise = value => (typeof value === "number" ? value.toFixed(Math.abs(value) < 10 ? 3 : 2) : String(value));

  // the pieces of a prompt; a picture is where the prompt says so, or in front
  function showPrompt(element, text, pictures) {
    const pieces = text.split("<image>");
    const fits = pieces.length === pictures.length + 1;
    if (!fits) pictures.forEach(number => element.append(showPicture(number)));
    (fits ? pieces : [text]).forEach((piece, place) => {
      if (fits && place) element.append(showPicture(pictures[place - 1]));
      if (piece.trim()) element.append(write(make("pre"), pieces.length > 1 ? piece.replace(/^\n+|\n+$/g, "") : piece));
    });
  }

  function showPicture(number) {
    const known = itemData.pictures[number];
    const block = document.getElementById(`picture-${number}`);
    if (!Array.isArray(known) || !block) return write(make("p", "items-missing"), `Picture: ${known}`);
    const image = make("img", "picture");
    [image.width, image.height] = known;
    image.alt = "a picture of the question";
    image.src = `data:image/webp;base64,${block.textContent}`;
    return image;
  }

  function countMarks(texts) {
    return texts.join("").split("<image>").length - 1;
  }

  function showShots(read, label) {
    if (read.hasLostShots) return [make("p", "sub", `Examples in front of the question${label}: left out of this page`)];
    if (!read.shots.length) return [];
    const count = read.shots.reduce((sum, text) => sum + text.length, 0);
    const summary = make("summary", "", `In front of the question${label}: ${count.toLocaleString("en")} characters`);
    const folded = make("details", "items-shots", summary);
    showPrompt(folded, read.shots.join(""), read.pictures.slice(0, splitPictures(read)));
    return [folded];
  }

  // how many of an item's pictures are those of the examples
  function splitPictures(read) {
    const inShots = countMarks(read.shots);
    const isTold = inShots + countMarks([read.prompt]) === read.pictures.length;
    return isTold ? inShots : 0;
  }

  function showQuestion(sides) {
    const isSame = sides.every(({ read }) => read.prompt === sides[0].read.prompt);
    const box = make("div", isSame ? "items-question" : "items-question items-sides");
    if (isSame) {
      const shots = new Set();
      const several = new Set(sides.map(({ read }) => read.shots.join(""))).size > 1;
      for (const { read, place } of sides) {
        const text = read.shots.join("");
        if (!shots.has(text)) box.append(...showShots(read, several ? `, arm ${place + 1}` : ""));
        shots.add(text);
      }
    }
    for (const { read, label } of isSame ? sides.slice(0, 1) : sides) {
      const column = make("div");
      if (!isSame) column.append(make("h4", "", `Prompt of ${label}`), ...showShots(read, ""));
      showPrompt(column, read.prompt, read.pictures.slice(splitPictures(read)));
      box.append(column);
    }
    return box;
  }

  function share(likelihoods) {
    const known = likelihoods.filter(value => typeof value === "number");
    const highest = Math.max(...known);
    const weights = likelihoods.map(value => (typeof value === "number" ? Math.exp(value - highest) : 0));
    const sum = weights.reduce((one, other) => one + other, 0);
    return weights.map(weight => (sum ? weight / sum : 0));
  }

  function showBar(read, shares, place) {
    const value = read.likelihoods[place];
    const cell = make("td", "items-bar");
    const bar = make("div", "items-share");
    bar.style.width = `${(shares[place] * 100).toFixed(2)}%`;
    const track = make("div", "items-track", bar);
    const tags = [];
    if (place === read.chosen && read.options.length > 1) tags.push(make("span", "items-tag", "acc"));
    if (place === read.normed) tags.push(make("span", "items-tag", "acc_norm"));
    const percent = value == null || read.options.length < 2 ? "" : `${Math.round(shares[place] * 100)} %`;
    cell.append(track, make("span", "items-number", value == null ? "" : precise(value)), " ", make("span", "items-percent", percent), " ", ...tags);
    return cell;
  }

  function showOptions(sides) {
    const named = ({ read }) => read.options.map(option => option.trim()).join("\0");
    const isSame = sides.every(side => named(side) === named(sides[0]));
    const blocks = (isSame ? [sides] : sides.map(side => [side])).map(columns => {
      const head = make("tr", "", make("th", "", "Option"));
      for (const { label } of columns) head.append(make("th", "", label));
      const body = make("tbody");
      const shares = columns.map(({ read }) => share(read.likelihoods));
      columns[0].read.options.forEach((option, place) => {
        const isRight = place === columns[0].read.right;
        const name = make("div", isRight ? "items-option is-right" : "items-option");
        const text = write(make("div", "items-words"), option.trim() || option);
        if (isRight) text.append(make("span", "items-said", "right answer"));
        name.append(make("span", "items-mark is-right", isRight ? "✓" : ""), text);
        body.append(make("tr", "", make("td", "", name), ...columns.map(({ read }, at) => showBar(read, shares[at], place))));
      });
      return make("div", "scroll", make("table", "items-options", make("thead", "", head), body));
    });
    if (sides[0].read.options.length < 2) return blocks;
    const legend = make("p", "sub items-legend");
    legend.append("Bar and %: probability among these options. Number: log-likelihood. ", make("span", "items-tag", "acc"), " marks the likeliest option");
    if (sides.some(({ read }) => read.normed >= 0)) legend.append(", ", make("span", "items-tag", "acc_norm"), " the likeliest per character");
    legend.append(".");
    return [...blocks, legend];
  }

  function showReply({ read, label }) {
    const box = make("div", "", make("h4", "", `Reply of ${label}`));
    for (const reply of read.replies) box.append(write(make("pre", "items-reply"), reply || "(empty)"));
    for (const { filter, texts } of read.extracted) {
      const line = make("p", "items-extracted", filter === "none" ? "extracted: " : `extracted by ${filter}: `);
      const isWhole = texts.join("\0") === read.replies.join("\0");
      if (isWhole) line.append("the whole reply");
      else write(line.appendChild(make("code")), texts.join(" | ") || "(empty)");
      box.append(line);
    }
    return box;
  }

  function answer(read) {
    if (read.options.length > 1) return read.options[read.chosen]?.trim() ?? "";
    if (read.replies.length) return (read.extracted[0]?.texts ?? []).join(" | ");
    return read.likelihoods.length ? `log-likelihood ${precise(read.likelihoods[0])}` : "";
  }

  function showArms(item, metric) {
    const body = make("tbody");
    itemData.arms.forEach(({ name, whole }, place) => {
      const read = itemData.read(item, place);
      if (!read) return;
      const verdict = itemData.judge(item, place, metric);
      const said = write(make("td", "items-answer"), answer(read).slice(0, 200));
      const values = read.metrics.map(([key, value]) => `${key} ${short(value)}`).join(" · ");
      const arm = make("td", "items-arm", itemData.arms.length > 1 ? name : whole);
      arm.title = whole;
      body.append(make("tr", "", make("td", "", mark(verdict), ` ${say(verdict)}`), arm, said, make("td", "items-metrics", values)));
    });
    const head = make("tr", "", ...["Result", "Arm", "Answer", "Metrics"].map(text => make("th", "", text)));
    return make("div", "scroll", make("table", "items-arms", make("thead", "", head), body));
  }

  function show(box, item, { arms, metric, link }) {
    const asked = place => itemData.read(item, place) !== null;
    const places = arms.some(asked) ? arms.filter(asked) : [itemData.arms.findIndex((_, place) => asked(place))];
    const sides = places.map(place => ({
      place, read: itemData.read(item, place), label: itemData.arms.length > 1 ? itemData.arms[place].name : "the model",
    }));
    const { gold, right } = sides[0].read;
    const anchor = make("a", "", "Link to this item");
    anchor.href = link;
    const title = make("h3", "", `${item.task.name} · item ${item.number.toLocaleString("en")}`);
    const about = make("p", "sub");
    if (item.subject) write(about, `${item.subject} · `);
    about.append(anchor);
    box.replaceChildren(title, about, showQuestion(sides));
    for (const { read, label } of sides.filter(({ read }) => read.cut)) {
      box.append(make("p", "note", `The prompt did not fit into the context of ${label}: it lost its beginning.`));
    }
    const chosen = sides.filter(({ read }) => read.options.length);
    if (chosen.length) box.append(...showOptions(chosen));
    const replied = sides.filter(({ read }) => read.replies.length);
    if (replied.length) box.append(make("div", replied.length > 1 ? "items-sides" : "", ...replied.map(showReply)));
    if (gold && right < 0) box.append(write(make("p", "items-gold", "target: "), gold));
    box.append(make("h4", "", itemData.arms.length > 1 ? "All arms" : "Result"), showArms(item, metric));
    for (const wide of box.querySelectorAll(".scroll")) { // the keyboard scrolls only what can be focused
      if (wide.scrollWidth > wide.clientWidth) wide.tabIndex = 0;
    }
  }
  // what is marked wherever a text has it
  function find(text) {
    query = text.toLowerCase();
  }
  return { show, find, mark, say, write, make };
})();
