import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { defineConfig, type Plugin } from "vite";

const path = (relative: string) => fileURLToPath(new URL(relative, import.meta.url));

/**
 * A script that blocks the first paint can't be a module, and Vite bundles modules only. It becomes
 * an asset of its own here, named by its content as all others, since assets are cached for good.
 */
function firstScript(source: string): Plugin {
  let reference = "";
  return {
    name: "first-script",
    apply: "build",
    buildStart() {
      const content = readFileSync(path(source), "utf8");
      reference = this.emitFile({ type: "asset", name: "theme.js", source: content });
    },
    generateBundle: {
      order: "post",
      handler(_options, bundle) {
        const page = bundle["index.html"];
        if (page?.type !== "asset") throw new Error("index.html is missing");
        const html = String(page.source);
        const address = `./${this.getFileName(reference)}`;
        if (!html.includes("/src/theme-first.js")) throw new Error("index.html has no first script");
        page.source = html.replace("/src/theme-first.js", address);
      },
    },
  };
}

export default defineConfig({
  // Relative addresses: the page also works below a path of a reverse proxy.
  base: "./",
  resolve: { alias: { "@wsserver/client": path("../js/src/index.ts") } },
  plugins: [firstScript("./src/theme-first.js")],
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  build: {
    outDir: path("../../wsserver/page"),
    emptyOutDir: true,
    target: "es2022",
    // The first with light-dark(): older ones would get a rewriting that the theme switch breaks.
    cssTarget: ["chrome123", "firefox120", "safari17.5"],
    // The content security policy allows scripts from files only.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  server: { proxy: { "/ws": { target: "ws://127.0.0.1:8080", ws: true } } },
});
