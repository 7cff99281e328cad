"use strict";
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const one = (selector) => document.querySelector(selector);
const dialog = one("dialog"), overlay = one("#overlay"), form = one("nav form");
let opened;

document.documentElement.classList.remove("no-script");
const fold = () => { if (matchMedia("(max-width: 60rem)").matches) one("nav details").open = false; };
fold();
one("nav ul").addEventListener("click", fold);

function enlarge(link) {
  const photo = link.closest(".photo"), image = link.querySelector("img");
  opened = link;
  overlay.src = image.src;
  one("#original").src = photo.querySelector("img").src;
  one("#caption").textContent = image.alt;
  one("#file").href = link.href;
  dialog.classList.toggle("small", photo.classList.contains("small"));
  if (!dialog.open) dialog.showModal();
}

function step(by) {
  const links = all("a.map", opened.closest(".photo")).filter((link) => link.offsetParent);
  if (links.length) enlarge(links[(links.indexOf(opened) + by + links.length) % links.length]);
}

function arrange() {
  const text = form.method_text.value.toLowerCase(), metric = form.sort.value;
  const shown = new Set(all("[name=group]:checked", form).map((box) => box.value));
  const worth = (item) => {
    const scores = JSON.parse(item.dataset.scores);
    return metric in scores ? scores[metric] * Number(form.sort.selectedOptions[0].dataset.sign) : Infinity;
  };
  for (const item of all("[data-method]")) {
    item.hidden = !item.dataset.method.toLowerCase().includes(text) || !shown.has(item.dataset.group);
  }
  for (const list of all(".group > div, tbody")) {
    const value = metric === "name" ? (item) => item.dataset.method : metric ? worth : (item) => Number(item.dataset.place);
    const items = all(":scope > [data-method]", list).map((item) => [value(item), item]);
    items.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
    list.append(...items.map(([, item]) => item));
  }
  for (const group of all(".group")) group.hidden = all("[data-method]", group).every((item) => item.hidden);
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("a.open:not(.part)");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  enlarge(link);
});
one("#opacity").addEventListener("input", (event) => { overlay.style.opacity = event.target.value; });
one("#previous").addEventListener("click", () => step(-1));
one("#next").addEventListener("click", () => step(1));
dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
dialog.addEventListener("keydown", (event) => {
  if (event.target.id !== "opacity" && event.key === "ArrowLeft") step(-1);
  if (event.target.id !== "opacity" && event.key === "ArrowRight") step(1);
});
form.addEventListener("input", arrange);
form.addEventListener("submit", (event) => event.preventDefault());
