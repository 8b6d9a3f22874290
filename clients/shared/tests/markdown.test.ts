import fc from "fast-check";
import { h, render } from "preact";
import { describe, expect, it } from "vitest";
import { Markdown } from "../src/markdown/Markdown.js";
import { type Block, MarkdownBlocks } from "../src/markdown/blocks.js";
import { sanitize } from "../src/markdown/render.js";

function show(text: string): HTMLElement {
  const element = document.createElement("div");
  render(h(Markdown, { text }), element);
  // The copy button of a code block is the page's own.
  for (const button of element.querySelectorAll("button")) button.remove();
  return element;
}

function parsed(html: string): HTMLElement {
  const element = document.createElement("div");
  element.innerHTML = html;
  return element;
}

/** What an element must not have, whoever wrote the text. */
function dangers(root: HTMLElement): string[] {
  const found: string[] = [];
  for (const element of root.querySelectorAll("*")) {
    if (/^(script|style|iframe|object|embed|form|img|svg|math|video|audio|link|meta|base|template)$/i.test(element.tagName)) {
      found.push(element.outerHTML);
    }
    for (const { name, value } of element.attributes) {
      if (/^on/i.test(name) || ["style", "src", "srcset", "id", "name"].includes(name)) found.push(`${name}=${value}`);
      if (name === "href" && !/^(https?:|mailto:)/i.test(value)) found.push(`${name}=${value}`);
    }
  }
  return found;
}

const ATTACKS = [
  "<script>alert(1)</script>",
  "<img src=x onerror=alert(1)>",
  "<svg/onload=alert(1)>",
  "<svg><a xlink:href='javascript:alert(1)'><text>x</text></a></svg>",
  "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
  "<math><mtext><table><mglyph><style><!--</style><img title='--><img src=1 onerror=alert(1)>'>",
  "<a href='javascript:alert(1)'>x</a>",
  "<form action='https://evil.example'><input name=password><button>go</button></form>",
  "<div style='position:fixed;inset:0;background:red'>cover</div>",
  "<base href='https://evil.example/'>",
  "<style>body{display:none}</style>",
  "[x](javascript:alert(1))",
  "[x](JaVaScRiPt:alert(1))",
  "[x](&#106;avascript:alert(1))",
  "[x](java\tscript:alert(1))",
  "[x](data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==)",
  "[x](vbscript:msgbox(1))",
  "[x](//evil.example \"onmouseover=alert(1)\")",
  "![x](https://evil.example/pixel.png)",
  "![\"><img src=x onerror=alert(1)>](x\"onerror=\"alert(1))",
  "<javascript:alert(1)>",
  "[x]: javascript:alert(1)\n\n[x]",
  "`<img src=x onerror=alert(1)>`",
  "```html\n<script>alert(1)</script>\n```",
  "- ```\"><script>alert(1)</script>\n  x\n  ```",
  "| a |\n|---|\n| <img src=x onerror=alert(1)> |",
  "<p><p><script>alert(1)",
  "<noscript><p title=\"</noscript><img src=x onerror=alert(1)>\">",
];

describe("a model's text", () => {
  it.each(ATTACKS)("can do nothing: %s", (attack) => {
    expect(dangers(show(attack))).toEqual([]);
    expect(dangers(show(`> - **x** ${attack}\n\nafter`))).toEqual([]);
  });

  it.each(ATTACKS)("would be harmless even as HTML: %s", (attack) => {
    expect(dangers(parsed(sanitize(attack)))).toEqual([]);
  });

  it("can do nothing in any mixture", () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...ATTACKS, "\n", "\n\n", "> ", "- ", "```", "`", "<", "\"")), (parts) => {
        expect(dangers(show(parts.join("")))).toEqual([]);
      }),
      { numRuns: 60 },
    );
  });

  it("is shown as it was written where it is HTML", () => {
    expect(show("a <b>c</b>").textContent).toContain("a <b>c</b>");
  });

  it("opens links elsewhere, without handing over where they stood", () => {
    const link = show("[x](https://example.com)").querySelector("a");
    expect(link?.target).toBe("_blank");
    expect(link?.rel).toContain("noopener");
  });

  it("loads no image: its address becomes a link", () => {
    const root = show("![a cat](https://example.com/cat.png)");
    expect(root.querySelector("img")).toBeNull();
    expect(root.querySelector("a")?.textContent).toBe("a cat");
  });
});

describe("Markdown", () => {
  it("renders what models write", () => {
    const root = show("# T\n\n**b** *i* `c`\n\n3. x\n4. y\n\n- [x] done\n\n| a | b |\n|--:|---|\n| 1 | 2 |\n\n> q");
    for (const selector of ["h1", "strong", "em", "code", "ol > li", "input[disabled]", "td[align=right]", "blockquote", "ol[start='3']"]) {
      expect(root.querySelector(selector), selector).not.toBeNull();
    }
  });

  it("keeps code apart, with its language, also while its fence is still open", () => {
    const blocks = new MarkdownBlocks().update("text\n\n```python title\nprint(1)\n");
    expect(blocks[1]).toEqual({ kind: "code", language: "python", code: "print(1)" });
  });
});

const SNIPPETS = [
  "A sentence. ", "Another one, longer, with **bold** text. ", "\n", "\n\n", "# Heading\n", "- item\n", "  - nested\n",
  "1. one\n", "> quote\n", "```js\ncode();\n```\n", "```\n", "| a | b |\n|---|---|\n| 1 | 2 |\n", "---\n", "    indented\n",
  "<b>html</b>", "***", "`", "*", "naïve 🦊 ", "\r\n",
];

describe("MarkdownBlocks", () => {
  it("shows a growing text as it would show the whole at once", () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...SNIPPETS), { maxLength: 40 }), (parts) => {
        const growing = new MarkdownBlocks();
        let text = "";
        let blocks: Block[] = [];
        for (const part of parts) blocks = growing.update((text += part));
        expect(blocks).toEqual(parts.length === 0 ? [] : new MarkdownBlocks().update(text));
      }),
      { numRuns: 150 },
    );
  });

  it("keeps the blocks that can't change, so that they are not drawn again", () => {
    const blocks = new MarkdownBlocks();
    const paragraphs = Array.from({ length: 50 }, (_, index) => `Paragraph ${index}.`);
    const before = blocks.update(paragraphs.join("\n\n"));
    expect(blocks.settled).toBe(48);
    const after = blocks.update(`${paragraphs.join("\n\n")} More.`);
    expect(after.slice(0, 49).every((block, index) => block === before[index])).toBe(true);
  });

  it("begins anew when the text was replaced", () => {
    const blocks = new MarkdownBlocks();
    blocks.update("one\n\ntwo\n\nthree\n\nfour");
    expect(blocks.update("five")).toEqual(new MarkdownBlocks().update("five"));
    blocks.update("one\n\ntwo\n\nthree\n\nfour");
    expect(blocks.update("uno\n\ndue\n\ntre\n\nquattro")).toHaveLength(4);
  });
});
