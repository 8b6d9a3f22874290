import { pageBuild } from "../shared/build.js";

export default pageBuild("../../wsserver/page");
