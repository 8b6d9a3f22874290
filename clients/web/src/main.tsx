/** Puts the page into the document. */

import { render } from "preact";
import { App } from "./components/App.js";
import "@wsserver/shared/styles.css";
import "./styles.css";

const root = document.getElementById("app");
if (!root) throw new Error("The page lacks its #app element.");
render(<App />, root);
