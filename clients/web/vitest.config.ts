import { pageTests } from "../shared/build.js";

export default pageTests;
