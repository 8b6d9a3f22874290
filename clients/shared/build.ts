/** How the pages are built and tested: the same way, into one folder that the server serves. */

import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { mergeConfig, type Plugin, type UserConfig } from "vite";
import { defineConfig } from "vitest/config";

const path = (relative: string) => fileURLToPath(new URL(relative, import.meta.url));

/**
 * Puts a script into the page that blocks the first paint. It can't be a module, and Vite bundles
 * modules only: it becomes an asset of its own here, named by its content as all others, since
 * assets are cached for good.
 */
function firstScript(source: string): Plugin {
  const read = () => readFileSync(path(source), "utf8");
  return {
    name: "first-script",
    buildStart() {
      if (this.meta.watchMode) return;
      this.emitFile({ type: "asset", name: "theme.js", source: read() });
    },
    transformIndexHtml: {
      order: "post",
      handler(_html, { bundle }) {
        if (!bundle) return [{ tag: "script", children: read(), injectTo: "head" }];
        const assets = Object.values(bundle);
        const asset = assets.find((file) => file.type === "asset" && file.names.includes("theme.js"));
        if (!asset) throw new Error("the first script was not emitted");
        return [{ tag: "script", attrs: { src: `./${asset.fileName}` }, injectTo: "head" }];
      },
    },
  };
}

const page: UserConfig = {
  // Relative addresses: the pages also work below a path of a reverse proxy.
  base: "./",
  resolve: {
    alias: { "@wsserver/client": path("../js/src/index.ts"), "@wsserver/shared": path("./src") },
  },
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  build: {
    emptyOutDir: true,
    target: "es2022",
    // The first with light-dark(): older ones would get a rewriting that the theme switch breaks.
    cssTarget: ["chrome123", "firefox120", "safari17.5"],
    // The content security policy allows scripts from files only.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  server: { proxy: { "/ws": { target: "ws://127.0.0.1:8080", ws: true } } },
};

/** The build of a page into `folder`, as seen from clients/shared. */
export function pageBuild(folder: string): UserConfig {
  const plugins = [firstScript("./src/theme-first.js")];
  return mergeConfig(page, { plugins, build: { outDir: path(folder) } });
}

export const pageTests = mergeConfig(
  page,
  defineConfig({ test: { environment: "jsdom", include: ["tests/**/*.test.{ts,tsx}"], testTimeout: 60_000 } }),
);
