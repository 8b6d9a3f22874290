/**
 * A growing text as a list of rendered blocks, at the cost of its last blocks only.
 *
 * A block that has two more behind it cannot change any more, whatever comes: it is rendered once.
 * Only what follows the settled blocks is read again as the answer grows.
 */

import type { Token, Tokens } from "marked";
import { lex, toSafeHtml } from "./render.js";

export type Block =
  | { kind: "html"; html: string }
  | { kind: "code"; language: string; code: string };

/** Blocks that may still change when more text comes. */
const OPEN_BLOCKS = 2;

export class MarkdownBlocks {
  #settled: Block[] = [];
  #settledLength = 0;
  /** The end of the settled text, to notice that it was replaced. */
  #seam = "";
  #open: { raw: string; block: Block }[] = [];

  update(text: string): Block[] {
    const source = text.includes("\r") ? text.replace(/\r\n?/g, "\n") : text;
    if (!this.#continues(source)) this.#reset();
    const tail = source.slice(this.#settledLength);
    const tokens = lex(tail);
    const rendered = this.#render(tokens);
    this.#settle(source, tail, tokens, rendered);
    return [...this.#settled, ...this.#open.map(({ block }) => block)];
  }

  /** How many blocks will not change any more. */
  get settled(): number {
    return this.#settled.length;
  }

  #render(tokens: readonly Token[]): { raw: string; block: Block }[] {
    const before = this.#open;
    return tokens
      .filter(({ type }) => type !== "space" && type !== "def")
      .map((token, index) => {
        const known = before[index];
        return known?.raw === token.raw ? known : { raw: token.raw, block: toBlock(token) };
      });
  }

  #settle(
    source: string,
    tail: string,
    tokens: readonly Token[],
    rendered: { raw: string; block: Block }[],
  ): void {
    this.#open = rendered;
    const count = rendered.length - OPEN_BLOCKS;
    if (count <= 0) return;
    // Without this the settled length would not be a place in the text.
    if (tokens.reduce((sum, { raw }) => sum + raw.length, 0) !== tail.length) return;
    let seen = 0;
    for (const token of tokens) {
      const shown = token.type !== "space" && token.type !== "def";
      if (shown && seen === count) break;
      if (shown) seen++;
      this.#settledLength += token.raw.length;
    }
    this.#settled = [...this.#settled, ...rendered.slice(0, count).map(({ block }) => block)];
    this.#open = rendered.slice(count);
    this.#seam = source.slice(Math.max(0, this.#settledLength - 64), this.#settledLength);
  }

  #continues(source: string): boolean {
    return (
      source.length >= this.#settledLength &&
      source.slice(this.#settledLength - this.#seam.length, this.#settledLength) === this.#seam
    );
  }

  #reset(): void {
    this.#settled = [];
    this.#settledLength = 0;
    this.#seam = "";
    this.#open = [];
  }
}

function toBlock(token: Token): Block {
  if (token.type === "code") {
    const { text, lang } = token as Tokens.Code;
    return { kind: "code", language: (lang ?? "").split(/\s/)[0] ?? "", code: text };
  }
  return { kind: "html", html: toSafeHtml(token) };
}
