import type { JSX } from "preact";
import { useStore } from "../live/store.ts";
import { Icon, type IconName } from "../parts/icon.tsx";
import { say } from "../parts/say.ts";
import { nextTheme, setTheme, type Theme, theme } from "./theme.ts";

const ICONS: Readonly<Record<Theme, IconName>> = { system: "auto", light: "sun", dark: "asleep" };

export function ThemeButton(): JSX.Element {
  const now = useStore(theme);
  const change = (): void => {
    setTheme(nextTheme(now));
    say(`Theme: ${nextTheme(now)}`);
  };
  return (
    <button type="button" class="icon-button" aria-label={`Theme: ${now}`} title={`Theme: ${now}`} onClick={change}>
      <Icon name={ICONS[now]} />
    </button>
  );
}
