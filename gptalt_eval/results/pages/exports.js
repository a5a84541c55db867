// A table as it is shown, for other programs: CSV for spreadsheets, Markdown for pages, LaTeX for papers.
const LATEX = {
  "\\": "\\textbackslash{}", "{": "\\{", "}": "\\}", $: "\\$", "&": "\\&", "#": "\\#", "%": "\\%", _: "\\_",
  "^": "\\textasciicircum{}", "~": "\\textasciitilde{}", "<": "\\textless{}", ">": "\\textgreater{}",
  "|": "\\textbar{}", '"': "\\textquotedbl{}", "↑": "$\\uparrow$", "↓": "$\\downarrow$", "–": "--", "≈": "$\\approx$",
};

// the shown cells, each with its text, its value with all digits, and its mark
function readTable(table) {
  const shown = [...table.tHead.rows[0].cells].map((cell, place) => ({ cell, place })).filter(each => !each.cell.hidden);
  const headings = shown.map(({ cell }) => {
    const copy = cell.cloneNode(true);
    const metric = cell.dataset.title ? "" : copy.querySelector(".small")?.textContent.trim() ?? "";
    copy.querySelectorAll(".small").forEach(each => each.remove());
    return { name: cell.dataset.title ?? copy.textContent.trim(), metric, isNumber: cell.classList.contains("n") };
  });
  const lines = [...table.tBodies[0].rows].filter(row => !row.hidden).map(row => shown.map(({ place }) => {
    const cell = row.cells[place];
    const copy = cell.cloneNode(true);
    copy.querySelectorAll(".small").forEach(each => each.remove());
    const text = copy.textContent.trim();
    return { text: text === "–" ? "" : text, value: cell.dataset.value || "", mark: cell.dataset.mark ?? "" };
  }));
  return { headings, lines };
}

function protect(text) {
  // what a spreadsheet would take for a formula is quoted, unless it is a number
  const safe = /^[=+\-@\t\r]/.test(text) && Number.isNaN(Number(text)) ? `'${text}` : text;
  return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

const FORMATS = {
  CSV(table) {
    const { headings, lines } = readTable(table);
    const rows = [headings.map(each => each.name), ...lines.map(line => line.map(each => each.value || each.text))];
    return rows.map(row => row.map(protect).join(",")).join("\n") + "\n";
  },
  Markdown(table) {
    const { headings, lines } = readTable(table);
    const escape = text => text.replace(/[\\|*_`[]/g, "\\$&").replaceAll("<", "&lt;").replace(/\s+/g, " ");
    const rows = [
      headings.map(each => escape([each.name, each.metric && `(${each.metric})`].filter(Boolean).join(" "))),
      headings.map(each => (each.isNumber ? "---:" : "---")),
      ...lines.map(line => line.map(({ text, mark }) => (mark === "best" ? `**${escape(text)}**` : escape(text) + (mark && " ≈")))),
    ];
    return rows.map(row => `| ${row.join(" | ")} |\n`).join("");
  },
  LaTeX(table) {
    const { headings, lines } = readTable(table);
    const escape = text => [...text.replace(/\s+/g, " ")].map(letter => LATEX[letter] ?? letter).join("");
    const mark = { best: text => `\\textbf{${text}}`, tied: text => `\\underline{${text}}`, "": text => text };
    return [
      "% needs \\usepackage{booktabs}", "% bold: the best; underlined: not significantly different from it",
      `\\begin{tabular}{@{}${headings.map(each => (each.isNumber ? "r" : "l")).join("")}@{}}`, "\\toprule",
      headings.map(each => escape([each.name, each.metric && `(${each.metric})`].filter(Boolean).join(" "))).join(" & ") + " \\\\",
      "\\midrule", ...lines.map(line => line.map(each => mark[each.mark](escape(each.text))).join(" & ") + " \\\\"),
      "\\bottomrule", "\\end{tabular}", "",
    ].join("\n");
  },
};
const ENDINGS = { CSV: "csv", Markdown: "md", LaTeX: "tex" };

function saveFile(name, text, type) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

function addExports(table, tools) {
  for (const [format, write] of Object.entries(FORMATS)) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = format;
    button.setAttribute("aria-label", `Save this table as ${format}`);
    button.onclick = () => saveFile(`${table.id}.${ENDINGS[format]}`, write(table), "text/plain;charset=utf-8");
    tools.append(button);
  }
}

for (const tools of document.querySelectorAll(".tools")) makeTable(document.getElementById(tools.dataset.for));
