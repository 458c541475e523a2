"use strict";
const offers = {}; // what a button copies, where that is not the whole text

for (const text of document.querySelectorAll(".copied pre")) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = text.dataset.label || "Copy";
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(offers[text.id] ? offers[text.id]() : text.textContent);
      button.textContent = "Copied";
    } catch { // the browser does not allow it
      getSelection().selectAllChildren(text);
      button.textContent = "Selected, to be copied by hand";
    }
  });
  text.before(button);
}
