// Shows a map in a dialog when it is clicked. A click, or Escape, closes the dialog.
document.addEventListener("click", (event) => {
  const open = event.target.closest("dialog.xai-dialog");
  if (open) {
    open.close();
    return;
  }
  const button = event.target.closest(".xai-enlarge");
  if (!button) return;
  const dialog = document.createElement("dialog");
  dialog.className = "xai-dialog";
  const { naturalWidth, naturalHeight } = button.querySelector("img");
  dialog.style.setProperty("--xai-ratio", naturalWidth / naturalHeight);
  const caption = button.parentElement.querySelector("figcaption");
  dialog.append(button.querySelector(".xai-stack").cloneNode(true), caption.cloneNode(true));
  dialog.addEventListener("close", () => dialog.remove());
  document.querySelector(".gradio-container").append(dialog);
  dialog.showModal();
});
