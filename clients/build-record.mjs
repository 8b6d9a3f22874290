/**
 * Finishes the built pages: the licences of what is bundled in them, and the record of their sources.
 *
 * The record says what the pages were made from, so that scripts/page_is_current can tell,
 * without Node, whether the sources have changed since. Both compute the same: keep them alike.
 */

import { createHash } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const clients = fileURLToPath(new URL(".", import.meta.url));
const page = fileURLToPath(new URL("../wsserver/page/", import.meta.url));
const IGNORED = new Set(["node_modules", "dist", "tests", "README.md"]);

function filesUnder(folder) {
  return readdirSync(`${clients}/${folder}`, { withFileTypes: true }).flatMap((entry) => {
    if (IGNORED.has(entry.name)) return [];
    const path = `${folder}/${entry.name}`;
    return entry.isDirectory() ? filesUnder(path) : [path];
  });
}

const bundled = JSON.parse(readFileSync(`${clients}/shared/package.json`, "utf8")).dependencies;
const packages = [...Object.keys(bundled), "@preact/signals-core"].sort();
const licences = packages.map((name) => {
  const folder = `${clients}/node_modules/${name}`;
  const { version, license } = JSON.parse(readFileSync(`${folder}/package.json`, "utf8"));
  const file = readdirSync(folder).find((entry) => /^licen[sc]e/i.test(entry));
  const text = file ? readFileSync(`${folder}/${file}`, "utf8").trim() : "";
  return `${name} ${version} (${license})\n\n${text}\n`;
});
writeFileSync(`${page}/licenses.txt`, licences.join(`\n${"-".repeat(80)}\n\n`));

const folders = ["js/src", "shared", "web", "rooms"];
const paths = ["build-record.mjs", "package.json", "package-lock.json", ...folders.flatMap(filesUnder)];
const sources = Object.fromEntries(
  paths.sort().map((path) => [
    path,
    createHash("sha256").update(readFileSync(`${clients}/${path}`)).digest("hex"),
  ]),
);
const lines = Object.entries(sources).map(([path, hash]) => `${hash}  ${path}\n`);
const hash = createHash("sha256").update(lines.join("")).digest("hex");
writeFileSync(`${page}/build.json`, `${JSON.stringify({ hash, sources }, null, 2)}\n`);
