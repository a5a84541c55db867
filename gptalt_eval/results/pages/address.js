// What a reader has chosen is in the page's address, after "#", so that a link shows the same.
const address = {
  read() {
    return new URLSearchParams(location.hash.slice(1));
  },
  get(key) {
    return this.read().get(key) ?? "";
  },
  // a key with several values; none removes it
  setAll(key, values) {
    const chosen = this.read();
    chosen.delete(key);
    for (const value of values) chosen.append(key, value);
    this.write(chosen, false);
  },
  // an empty value removes the key; the browser's history gets an entry only where that helps to go back
  set(key, value, { isStep = false } = {}) {
    const chosen = this.read();
    if (value === "") chosen.delete(key);
    else chosen.set(key, value);
    this.write(chosen, isStep);
  },
  write(chosen, isStep) {
    const hash = chosen.toString();
    const url = location.pathname + location.search + (hash && "#" + hash);
    try {
      history[isStep ? "pushState" : "replaceState"](null, "", url);
    } catch {
      location.hash = hash; // some browsers refuse the above for files
    }
  },
  // when a reader follows a link within the page, or goes back
  onChange(show) {
    addEventListener("hashchange", show);
    addEventListener("popstate", show);
  },
};
document.documentElement.classList.add("js");

// links within the page leave the address as it is
for (const link of document.querySelectorAll(".jump a")) {
  link.onclick = event => {
    const target = document.getElementById(link.hash.slice(1));
    event.preventDefault();
    target.tabIndex = -1;
    target.focus({ preventScroll: true });
    target.scrollIntoView();
  };
}
