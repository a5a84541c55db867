// Saves a figure as a file of its own: light colours in place of the page's, a size, a font, a white background.
const figures = {
  lightColours() {
    const found = {};
    for (const rule of [...document.styleSheets].flatMap(sheet => [...sheet.cssRules])) {
      if (rule.selectorText !== ":root") continue; // rules for dark screens are inside of a media rule
      for (const name of rule.style) if (name.startsWith("--")) found[name] = rule.style.getPropertyValue(name).trim();
    }
    return found;
  },
  write(svg, title, about) {
    const copy = svg.cloneNode(true);
    const margin = 12; // other programs have other fonts
    const [width, height] = svg.getAttribute("viewBox").split(" ").slice(2).map(side => Number(side) + 2 * margin);
    const corner = { x: -margin, y: -margin };
    const add = (tag, attributes, text = "") => {
      const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
      for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
      node.textContent = text;
      return node;
    };
    copy.prepend(
      add("title", {}, title), add("desc", {}, about), add("rect", { ...corner, width, height, fill: "#ffffff" }),
    );
    const font = getComputedStyle(svg).fontFamily.replace(/^system-ui, */, "");
    const viewBox = [-margin, -margin, width, height].join(" ");
    for (const [key, value] of Object.entries({ viewBox, width, height, "font-family": font })) copy.setAttribute(key, value);
    const colours = this.lightColours();
    for (const node of copy.querySelectorAll("*")) {
      for (const { name, value } of [...node.attributes]) {
        if (value.includes("var(")) node.setAttribute(name, value.replace(/var\((--[\w-]+)\)/g, (_, key) => colours[key] ?? "#000000"));
      }
    }
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + new XMLSerializer().serializeToString(copy) + "\n";
  },
  save(figure) {
    const title = figure.querySelector("figcaption strong").textContent;
    const drawing = figure.querySelector(".drawing");
    const text = this.write(drawing.querySelector("svg"), title, drawing.getAttribute("aria-label"));
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "image/svg+xml" }));
    link.download = title.replace(/[^\p{L}\p{N}._-]+/gu, "-").replace(/^[-.]+|-+$/g, "").slice(0, 80) + ".svg";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  },
};
for (const button of document.querySelectorAll(".charts .save")) {
  button.hidden = false;
  button.onclick = () => figures.save(button.closest("figure"));
}
// on a phone, what fills more than the screen is opened when it is asked for
if (matchMedia("(max-width: 40rem)").matches) {
  for (const kind of document.querySelectorAll(".charts details[open]")) {
    if (kind.offsetHeight > innerHeight) kind.open = false;
  }
}
