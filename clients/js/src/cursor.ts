/**
 * The merge rule: how pieces of an answer become its text, whatever was lost or sent twice.
 *
 * `offset` of a piece is the length of the answer in UTF-8 bytes, that piece included, so a piece
 * begins at `offset` less its own length. A reader that has `n` bytes appends what begins at `n`,
 * drops what it has already, and asks again where something is missing. This room knows no
 * network: asking is the caller's business.
 */

export type Merge =
  | { kind: "append"; text: string }
  /** All of it was here already. */
  | { kind: "known" }
  /** Text before this piece is missing: ask for it from `TextCursor.bytes` on. */
  | { kind: "gap" };

/** Length of `text` in UTF-8 bytes. A lone surrogate counts 3, as TextEncoder writes it. */
export function utf8Length(text: string): number {
  let bytes = text.length;
  for (let index = 0; index < text.length; index++) {
    const unit = text.charCodeAt(index);
    if (unit < 0x80) continue;
    if (unit < 0x800) bytes += 1;
    else if (unit >= 0xd800 && unit < 0xdc00 && isLowSurrogate(text.charCodeAt(index + 1))) {
      // Two units make four bytes; the pair's second unit is counted here too.
      bytes += 2;
      index++;
    } else bytes += 2;
  }
  return bytes;
}

/** Index in `text` of its byte `bytes`; inside a character, the index of that character. */
export function indexAtByte(text: string, bytes: number): number {
  let index = 0;
  let left = bytes;
  while (index < text.length) {
    const code = text.codePointAt(index) as number;
    const size = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    if (left < size) return index;
    left -= size;
    index += code < 0x10000 ? 1 : 2;
  }
  return index;
}

export class TextCursor {
  #text: string;
  #bytes: number;

  /** @param text What is known of the answer already: its beginning. */
  constructor(text = "") {
    this.#text = text;
    this.#bytes = utf8Length(text);
  }

  get text(): string {
    return this.#text;
  }

  /** How much of the answer is here, in UTF-8 bytes. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Takes the piece that ends at `offset`. */
  merge(piece: string, offset: number): Merge {
    const start = offset - utf8Length(piece);
    if (start > this.#bytes) return { kind: "gap" };
    if (offset <= this.#bytes) return { kind: "known" };
    const fresh = start === this.#bytes ? piece : piece.slice(indexAtByte(piece, this.#bytes - start));
    this.#text += fresh;
    this.#bytes = offset;
    return { kind: "append", text: fresh };
  }

  /** Drops the text past `offset`; inside a character, that character as well. */
  rewind(offset: number): void {
    if (offset >= this.#bytes) return;
    this.#text = this.#text.slice(0, indexAtByte(this.#text, offset));
    this.#bytes = utf8Length(this.#text);
  }
}

function isLowSurrogate(unit: number): boolean {
  return unit >= 0xdc00 && unit < 0xe000;
}
