// Keys press the existing buttons. A vote is sent again until the server accepts it; it counts only once.
"use strict";

const footer = document.querySelector("footer");
const status = document.querySelector(".status");
let sending = false;
history.scrollRestoration = "manual"; // the next question starts at the top

// retries until the server answers
async function ask(url, settings) {
  for (;;) {
    try {
      const answer = await fetch(url, { redirect: "manual", ...settings });
      if (answer.status < 500) return;
    } catch {
      // no connection
    }
    status.textContent = footer.dataset.retrying;
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
}

async function send(form, button) {
  const body = new URLSearchParams(new FormData(form));
  body.append(button.name, button.value);
  await ask(form.action, { method: "POST", body });
  await ask(location.href); // the server may have stopped in between
  location.reload();
}

document.addEventListener("submit", (event) => {
  event.preventDefault();
  if (sending) return;
  sending = true;
  status.textContent = footer.dataset.saving;
  for (const button of document.querySelectorAll("button")) button.setAttribute("aria-disabled", "true");
  send(event.target, event.submitter);
});

document.addEventListener("keydown", (event) => {
  if (event.repeat || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const button = document.querySelector(`button[data-key="${CSS.escape(key)}"]`);
  // parts that scroll sideways keep their arrow keys
  if (!button || (key.startsWith("Arrow") && event.target.closest(".text [tabindex]"))) return;
  event.preventDefault();
  button.form.requestSubmit(button);
});

// after "back", the browser's cached page would show answers that were already judged
addEventListener("pageshow", (event) => {
  if (event.persisted) location.reload();
});
