/** The page's one status region. Screen readers announce each text that is put there. */

export function say(text: string): void {
  const region = document.getElementById("say");
  if (region !== null) region.textContent = text;
}
