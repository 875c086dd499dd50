// compile.mjs TOOLS OUT SOURCE...: compiles C files to objects in the folder OUT with the clang of the npm package @yowasp/clang in
// TOOLS, and puts its C library there. Linking is `../build`'s.
import { mkdirSync, readFileSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { pathToFileURL } from "node:url";
import { execFileSync } from "node:child_process";

const [tools, out, ...sources] = process.argv.slice(2);
const clang = join(tools, "node_modules/@yowasp/clang/gen");
const { commands } = await import(pathToFileURL(join(clang, "bundle.js")));

/** A folder as clang's file system. */
const tree = (folder) =>
  Object.fromEntries(
    readdirSync(folder).map((name) => {
      const path = join(folder, name);
      return [name, statSync(path).isDirectory() ? tree(path) : new Uint8Array(readFileSync(path))];
    }),
  );

mkdirSync(out, { recursive: true });
for (const source of sources) {
  const object = basename(source).replace(/\.c$/, ".o");
  const flags = ["--target=wasm32-wasip1", "-Oz", "-Wall", "-Werror", "-Wno-unused-function", "-c"];
  const files = await commands["clang"]([...flags, source, "-o", object], tree("."), {});
  writeFileSync(join(out, object), files[object]);
}
const archive = join(clang, "llvm-resources.tar");
for (const name of ["crt1-reactor.o", "libc.a"]) {
  const entry = `lib/wasm32-wasip1/${name}`;
  writeFileSync(join(out, name), execFileSync("tar", ["xOf", archive, entry], { maxBuffer: 1 << 26 }));
}
