// The items of the page. Those of a task are decompressed when it is first shown; gptalt_eval/results/items/packing.py
// says how they are written.
const itemData = (() => {
  const tasks = [];
  const data = { arms: [], tasks, tree: [], pictures: [] };

  // base85 in the order of RFC 1924, with ",", "." and ":" for "<", ">" and "&"
  const DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%:()*+-;,=.?@^_`{|}~";
  const values = new Uint8Array(128);
  for (let value = 0; value < DIGITS.length; value++) values[DIGITS.charCodeAt(value)] = value;

  function readBytes(text) {
    const bytes = new Uint8Array(Math.ceil(text.length / 5) * 4);
    for (let from = 0, to = 0; from < text.length; from += 5, to += 4) {
      let number = 0;
      for (let place = from; place < from + 5; place++) {
        number = number * 85 + (place < text.length ? values[text.charCodeAt(place)] : 84);
      }
      bytes[to] = number >>> 24;
      bytes[to + 1] = number >>> 16;
      bytes[to + 2] = number >>> 8;
      bytes[to + 3] = number;
    }
    return bytes.subarray(0, Math.floor(text.length * 4 / 5));
  }

  async function unpack(id) {
    const bytes = readBytes(document.getElementById(id).textContent);
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).json();
  }

  function addUp(differences) {
    let sum = 0;
    return differences.map(difference => (sum += difference));
  }

  data.open = async () => {
    const { arms, tasks: listed, tree, pictures } = await unpack("items-index");
    Object.assign(data, { arms: arms.map((parts, place) => nameArm(parts, place, arms)), tree, pictures });
    for (const { name, count } of listed) tasks.push({ name, count, place: tasks.length });
  };

  // an arm by its number and by what distinguishes it: model, prompt style or shots
  function nameArm(parts, place, arms) {
    const given = parts.filter(Boolean);
    const differing = given.filter(part => arms.some(other => !other.includes(part)));
    return { name: `${place + 1}  ${(differing.length ? differing : given).join(" · ")}`, whole: given.join(" · ") };
  }

  // all of a task's items; the promise is kept, so that each is decompressed once
  data.load = task => (task.loading ??= unpack(`items-${task.place}`).then(chunk => decode(task, chunk)));

  function decode(task, chunk) {
    const arms = new Map();
    const sums = new Map(); // arms have many columns in common
    const sum = column => {
      if (!sums.has(column)) sums.set(column, addUp(chunk.columns[column]));
      return sums.get(column);
    };
    for (const written of chunk.arms) {
      const arm = { arm: written.arm, judged: written.judged, metrics: new Map(), extracted: [], ends: sum(written.counts) };
      for (const name of ["shots", "prompt", "gold", "options", "replies", "pictures"]) arm[name] = sum(written[name]);
      for (const name of ["counts", "likelihoods", "right", "chosen", "normed", "cut"]) arm[name] = chunk.columns[written[name]];
      for (const [filter, { extracted, metrics }] of Object.entries(written.filters)) {
        arm.extracted.push({ filter, lists: sum(extracted) });
        for (const [metric, values] of Object.entries(metrics)) {
          arm.metrics.set(filter === "none" ? metric : `${metric} (${filter})`, chunk.columns[values]);
        }
      }
      arms.set(arm.arm, arm);
    }
    Object.assign(task, { arms, texts: chunk.texts, lists: chunk.lists, pictures: chunk.pictures });
    task.subjects = chunk.subjects;
    const numbers = addUp(chunk.number);
    const seen = new Map(); // arms may have other documents under the same number
    task.items = numbers.map((number, row) => {
      const again = (seen.get(number) ?? 0) + 1;
      seen.set(number, again);
      const name = `${task.name}/${number}${again > 1 ? `.${again}` : ""}`;
      return { task, row, number, name, subject: chunk.subjects[chunk.subject[row]] };
    });
    return task;
  }

  // what one arm was asked and answered
  data.read = ({ task, row }, place) => {
    const arm = task.arms.get(place);
    if (!arm || arm.prompt[row] < 0) return null;
    const list = number => (number < 0 ? [] : task.lists[number].map(text => task.texts[text]));
    const text = number => (number < 0 ? "" : task.texts[number]);
    const first = arm.ends[row] - arm.counts[row];
    return {
      hasLostShots: arm.shots[row] === -2,
      shots: list(arm.shots[row]),
      prompt: text(arm.prompt[row]),
      gold: text(arm.gold[row]),
      options: list(arm.options[row]),
      replies: list(arm.replies[row]),
      extracted: arm.extracted.map(({ filter, lists }) => ({ filter, texts: list(lists[row]) })),
      likelihoods: arm.likelihoods.slice(first, arm.ends[row]),
      right: arm.right[row],
      chosen: arm.chosen[row],
      normed: arm.normed[row],
      cut: arm.cut[row],
      metrics: [...arm.metrics].map(([name, values]) => [name, values[row]]).filter(([, value]) => value !== null),
      pictures: arm.pictures[row] < 0 ? [] : task.pictures[arm.pictures[row]],
    };
  };

  // "right", "wrong", "none" (no answer), "absent" (not scored), a number, or "unknown"
  data.judge = ({ task, row }, place, metric) => {
    const arm = task.arms.get(place);
    if (!arm || arm.prompt[row] < 0) return "absent";
    const name = metric || arm.judged;
    const value = arm.metrics.get(name)?.[row] ?? null;
    const isBinary = name === arm.judged || isShare(arm, name);
    if (value === 1 && isBinary) return "right";
    if (hasNoAnswer(task, arm, row, name)) return "none";
    if (value === 0 && isBinary) return "wrong";
    return value === null ? "unknown" : value;
  };

  // whether the beginning of the prompt was too long for the model
  data.isCut = ({ task, row }, place) => Boolean(task.arms.get(place)?.cut[row]);

  function isShare(arm, name) {
    arm.shares ??= new Map();
    if (!arm.shares.has(name)) {
      const values = arm.metrics.get(name) ?? [];
      arm.shares.set(name, values.every(value => value === 0 || value === 1 || value === null));
    }
    return arm.shares.get(name);
  }

  // a metric says so; or it is what lm-eval's filters write where they find nothing
  function hasNoAnswer(task, arm, row, metric) {
    for (const [name, values] of arm.metrics) if (name.startsWith("no_answer")) return values[row] === 1;
    const { lists } = arm.extracted.find(({ filter }) => metric.endsWith(`(${filter})`)) ?? arm.extracted[0] ?? {};
    const texts = lists?.[row] >= 0 ? task.lists[lists[row]] : [];
    return texts.length > 0 && texts.every(text => task.texts[text] === "[invalid]");
  }

  // the beginning of the question, on one line
  data.title = item => {
    for (const arm of item.task.arms.values()) {
      if (arm.prompt[item.row] < 0) continue;
      const text = item.task.texts[arm.prompt[item.row]].slice(0, 400);
      const options = arm.options[item.row];
      const asked = text.trim() || (options < 0 ? "" : item.task.texts[item.task.lists[options][0]]);
      return asked.replaceAll("<image>", "").replace(/[ \t\n]+/g, " ").trim().slice(0, 160);
    }
    return "";
  };

  // whether a task's items have a text in their question, options or replies; examples do not count
  data.search = (task, query) => {
    const wanted = query.toLowerCase();
    task.lower ??= task.texts.map(text => text.toLowerCase());
    const texts = task.lower.map(text => text.includes(wanted));
    const lists = task.lists.map(list => list.some(text => texts[text]));
    const arms = [...task.arms.values()];
    const hasIt = number => number >= 0 && lists[number];
    return row => arms.some(arm => arm.prompt[row] >= 0 && (
      texts[arm.prompt[row]] || hasIt(arm.options[row]) || hasIt(arm.replies[row])
      || arm.extracted.some(each => hasIt(each.lists[row]))
    ));
  };
  return data;
})();
