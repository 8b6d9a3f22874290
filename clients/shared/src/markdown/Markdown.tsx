/** Shows a text, growing or whole, as Markdown. */

import { Component } from "preact";
import { useMemo } from "preact/hooks";
import { CopyButton } from "../components/CopyButton.js";
import { type Block, MarkdownBlocks } from "./blocks.js";

export function Markdown({ text }: { text: string }) {
  const blocks = useMemo(() => new MarkdownBlocks(), []);
  return (
    <div class="markdown">
      {blocks.update(text).map((block, index) => (
        <BlockView key={index} block={block} />
      ))}
    </div>
  );
}

/** Drawn again only when its block changed: the settled ones keep their objects. */
class BlockView extends Component<{ block: Block }> {
  override shouldComponentUpdate(next: { block: Block }): boolean {
    return next.block !== this.props.block;
  }

  override render({ block }: { block: Block }) {
    if (block.kind === "code") return <CodeBlock language={block.language} code={block.code} />;
    return <div class="block" dangerouslySetInnerHTML={{ __html: block.html }} />;
  }
}

function CodeBlock({ language, code }: { language: string; code: string }) {
  return (
    <figure class="code">
      <figcaption>
        <span>{language || "code"}</span>
        <CopyButton text={() => code} label="Copy code" />
      </figcaption>
      <pre tabIndex={0}>
        <code>{code}</code>
      </pre>
    </figure>
  );
}
