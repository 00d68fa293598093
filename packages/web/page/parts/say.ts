/** The page's one status region: what is said there, screen readers read. */

export function say(text: string): void {
  const region = document.getElementById("say");
  if (region !== null) region.textContent = text;
}
