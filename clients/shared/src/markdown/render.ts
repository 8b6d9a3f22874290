/**
 * Markdown of a model to safe HTML. A model's text is a stranger's text: whatever it contains,
 * nothing of it runs, loads, submits or covers the page.
 *
 * HTML in the text is shown as text, images become links (a remote image would tell its host who
 * reads this), and everything passes the sanitizer, with a list of what is allowed.
 */

import DOMPurify from "dompurify";
import { Marked, type Token, type Tokens } from "marked";

const ALLOWED_TAGS = [
  "p", "br", "hr", "strong", "em", "del", "code", "pre", "blockquote", "a",
  "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "li", "input",
  "table", "thead", "tbody", "tr", "th", "td",
];
const ALLOWED_ATTR = ["href", "title", "start", "align", "type", "checked", "disabled", "class"];
const SAFE_ADDRESS = /^(?:https?:|mailto:)/i;

const marked = new Marked({
  gfm: true,
  breaks: true,
  renderer: {
    html: ({ text }: Tokens.HTML | Tokens.Tag) => escapeHtml(text),
    image: ({ href, text }: Tokens.Image) =>
      `<a href="${escapeHtml(href)}">${escapeHtml(text || href)}</a>`,
  },
});

const purify = DOMPurify(window);

purify.addHook("afterSanitizeAttributes", (node) => {
  if (node.tagName === "A") {
    node.setAttribute("target", "_blank");
    node.setAttribute("rel", "noopener noreferrer nofollow");
  } else if (node.tagName === "INPUT") {
    // The boxes of a task list, and nothing else that can be filled in.
    node.setAttribute("type", "checkbox");
    node.setAttribute("disabled", "");
    node.setAttribute("aria-label", node.hasAttribute("checked") ? "Done" : "Not done");
  }
  const language = node.tagName === "CODE" ? node.getAttribute("class") : null;
  if (language === null || !/^language-[\w+#.-]+$/.test(language)) node.removeAttribute("class");
});

export function lex(text: string): Token[] {
  return marked.lexer(text);
}

/** HTML of one top-level token, fit for `innerHTML`. */
export function toSafeHtml(token: Token): string {
  return sanitize(marked.parser([token]));
}

export function sanitize(html: string): string {
  return purify.sanitize(html, {
    ALLOWED_TAGS,
    ALLOWED_ATTR,
    ALLOWED_URI_REGEXP: SAFE_ADDRESS,
    // Everything else would have to look like an address.
    ADD_URI_SAFE_ATTR: ["start", "align", "type"],
    ALLOW_DATA_ATTR: false,
    ALLOW_ARIA_ATTR: false,
  });
}

function escapeHtml(text: string): string {
  return text
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;");
}
