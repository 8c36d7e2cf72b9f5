"use strict";
// The page works without this: it only saves a marketer from selecting the link by hand.
const copy = document.getElementById("copy");
const address = document.getElementById("address");
if (copy && address) {
  copy.hidden = false;
  copy.addEventListener("click", async () => {
    address.select();
    try {
      await navigator.clipboard.writeText(address.value);
      copy.textContent = copy.dataset.done;
    } catch {
      copy.textContent = copy.dataset.failed;
    }
  });
}
