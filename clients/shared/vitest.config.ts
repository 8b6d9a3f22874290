import { pageTests } from "./build.js";

export default pageTests;
