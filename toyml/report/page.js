"use strict";
for (const button of document.querySelectorAll("button[data-copy]")) {
  // Without a clipboard (an old browser, some file:// pages) the button would only disappoint.
  if (!navigator.clipboard) continue;
  button.hidden = false;
  button.addEventListener("click", async () => {
    const code = document.getElementById(button.dataset.copy);
    const status = button.parentElement.querySelector("[role=status]");
    try {
      await navigator.clipboard.writeText(code.textContent);
      status.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(code);
      status.textContent = "Selected; press Ctrl+C";
    }
    setTimeout(() => { status.textContent = ""; }, 2000);
  });
}
// Paper cannot be unfolded.
let folded = [];
addEventListener("beforeprint", () => {
  folded = [...document.querySelectorAll("details:not([open])")];
  for (const details of folded) details.open = true;
});
addEventListener("afterprint", () => {
  for (const details of folded) details.open = false;
});
