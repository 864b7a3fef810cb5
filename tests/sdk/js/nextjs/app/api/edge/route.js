export const runtime = "edge";
export { POST, PUT } from "../../../lib/api.js";
