export const runtime = "nodejs";
export { POST, PUT } from "../../../lib/api.js";
