/** Runs before anything is drawn: sets the theme that the reader chose. */
try {
  const chosen = localStorage.getItem("berthd-theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset["theme"] = chosen;
} catch {
  // Without storage the system's theme is shown.
}
