import { describe, expect, it } from "vitest";
import { Backoff, mayReturn } from "../src/backoff.js";

describe("Backoff", () => {
  it("doubles its ceiling from half a second to twenty", () => {
    const backoff = new Backoff({ random: () => 1 });
    const waits = Array.from({ length: 8 }, () => backoff.next());
    expect(waits).toEqual([500, 1000, 2000, 4000, 8000, 16_000, 20_000, 20_000]);
    backoff.reset();
    expect(backoff.next()).toBe(500);
  });

  it("spreads over the whole range below the ceiling", () => {
    expect(new Backoff({ random: () => 0 }).next()).toBe(0);
    expect(new Backoff({ random: () => 0.5 }).next()).toBe(250);
  });

  it("stays finite after very many failures", () => {
    const backoff = new Backoff({ random: () => 1 });
    for (let failure = 0; failure < 5000; failure++) backoff.next();
    expect(backoff.next()).toBe(20_000);
  });
});

describe("mayReturn", () => {
  it.each([1001, 1005, 1006, 1011, 1012, 1013, 4000, 4001, 4004, 4005, 4499])("%i: yes", (code) => {
    expect(mayReturn(code)).toBe(true);
  });
  it.each([1000, 1008, 1009, 4500, 4501, 4503, 4505, 4506, 4507, 4999])("%i: no", (code) => {
    expect(mayReturn(code)).toBe(false);
  });
});
