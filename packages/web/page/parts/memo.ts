/** Components that are drawn again only when one of their properties is another. */
import { Component, type ComponentChild, type FunctionComponent, h } from "preact";

export function memo<P extends object>(draw: (props: P) => ComponentChild): FunctionComponent<P> {
  class Memo extends Component<P> {
    override shouldComponentUpdate(next: Readonly<P>): boolean {
      const before: Readonly<Record<string, unknown>> = { ...this.props };
      const after: Readonly<Record<string, unknown>> = { ...next };
      return [...new Set([...Object.keys(before), ...Object.keys(after)])].some((key) => before[key] !== after[key]);
    }
    override render(): ComponentChild {
      return draw(this.props);
    }
  }
  return (props) => h(Memo, props);
}
