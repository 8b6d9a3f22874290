import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { TextCursor, indexAtByte, utf8Length } from "../src/cursor.js";

const encoder = new TextEncoder();
/** Text of whole characters of one to four bytes each. */
const text = fc.string({ unit: fc.constantFrom("a", " ", "é", "ß", "中", "€", "🦊", "𝄞"), maxLength: 60 });

/** Cuts `whole` into pieces at some of its character borders, each with its end offset. */
function pieces(whole: string, cuts: readonly boolean[]): { text: string; offset: number }[] {
  const made: { text: string; offset: number }[] = [];
  let piece = "";
  let offset = 0;
  Array.from(whole).forEach((character, index) => {
    piece += character;
    offset += encoder.encode(character).length;
    if (cuts[index % Math.max(1, cuts.length)]) {
      made.push({ text: piece, offset });
      piece = "";
    }
  });
  if (piece) made.push({ text: piece, offset });
  return made;
}

describe("utf8Length", () => {
  it("counts as TextEncoder does, lone surrogates included", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (any) => {
        expect(utf8Length(any)).toBe(encoder.encode(any).length);
      }),
    );
    expect(utf8Length("\ud800")).toBe(3);
    expect(utf8Length("\udc00\ud800a")).toBe(7);
  });
});

describe("indexAtByte", () => {
  it("finds every character border and rounds down inside a character", () => {
    expect(indexAtByte("a🦊b", 1)).toBe(1);
    expect(indexAtByte("a🦊b", 3)).toBe(1);
    expect(indexAtByte("a🦊b", 5)).toBe(3);
    expect(indexAtByte("a🦊b", 99)).toBe(4);
  });
});

describe("TextCursor", () => {
  it("joins pieces in order to the whole text", () => {
    fc.assert(
      fc.property(text, fc.array(fc.boolean(), { minLength: 1 }), (whole, cuts) => {
        const cursor = new TextCursor();
        for (const piece of pieces(whole, cuts)) {
          expect(cursor.merge(piece.text, piece.offset)).toEqual({ kind: "append", text: piece.text });
        }
        expect(cursor.text).toBe(whole);
        expect(cursor.bytes).toBe(encoder.encode(whole).length);
      }),
    );
  });

  it("ends with the whole text when any piece comes again, cut differently or not", () => {
    fc.assert(
      fc.property(
        text,
        fc.array(fc.boolean(), { minLength: 1 }),
        fc.array(fc.boolean(), { minLength: 1 }),
        fc.array(fc.nat(), { maxLength: 30 }),
        (whole, cutsA, cutsB, picks) => {
          const cursor = new TextCursor();
          const second = pieces(whole, cutsB);
          const all = [...pieces(whole, cutsA), ...second];
          // In any order: what leaves a gap is refused and changes nothing.
          for (const pick of picks) {
            const piece = all[pick % Math.max(1, all.length)];
            if (!piece) continue;
            const before = cursor.text;
            const merge = cursor.merge(piece.text, piece.offset);
            if (merge.kind !== "append") expect(cursor.text).toBe(before);
            expect(whole.startsWith(cursor.text)).toBe(true);
            expect(cursor.bytes).toBe(encoder.encode(cursor.text).length);
          }
          for (const piece of second) cursor.merge(piece.text, piece.offset);
          expect(cursor.text).toBe(whole);
        },
      ),
    );
  });

  it("tells a gap from what it has", () => {
    const cursor = new TextCursor();
    expect(cursor.merge("ü", 4)).toEqual({ kind: "gap" });
    expect(cursor.merge("aü", 3)).toEqual({ kind: "append", text: "aü" });
    expect(cursor.merge("ü", 3)).toEqual({ kind: "known" });
    expect(cursor.merge("üb", 4)).toEqual({ kind: "append", text: "b" });
    expect(cursor.merge("", 4)).toEqual({ kind: "known" });
    expect(cursor.merge("", 5)).toEqual({ kind: "gap" });
  });

  it("drops text past a rewind and goes on from there", () => {
    fc.assert(
      fc.property(text, fc.nat(200), (whole, at) => {
        const cursor = new TextCursor();
        cursor.merge(whole, encoder.encode(whole).length);
        cursor.rewind(at);
        expect(whole.startsWith(cursor.text)).toBe(true);
        expect(cursor.bytes).toBeLessThanOrEqual(Math.max(at, 0));
        expect(cursor.bytes).toBe(encoder.encode(cursor.text).length);
        const more = cursor.merge("né", cursor.bytes + 3);
        expect(more.kind).toBe("append");
      }),
    );
  });
});
