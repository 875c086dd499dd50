// compile.mjs OUT SOURCE...: compiles C files to objects in the folder OUT with the clang of the npm package @yowasp/clang, and puts its
// C library there. Linking is `./build`'s.
import { mkdirSync, readFileSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { execFileSync } from "node:child_process";
import { commands } from "./node_modules/@yowasp/clang/gen/bundle.js";

/** A folder as clang's file system. */
const tree = (folder) =>
  Object.fromEntries(
    readdirSync(folder).map((name) => {
      const path = join(folder, name);
      return [name, statSync(path).isDirectory() ? tree(path) : new Uint8Array(readFileSync(path))];
    }),
  );

const [out, ...sources] = process.argv.slice(2);
mkdirSync(out, { recursive: true });
const seen = { src: tree("src"), gen: tree("gen") };
for (const source of sources) {
  const object = source.replaceAll("/", "-").replace(/\.c$/, ".o");
  const flags = ["--target=wasm32-wasip1", "-Oz", "-Wall", "-Wno-unused-function", "-I.", "-c"];
  const files = await commands["clang"]([...flags, source, "-o", object], seen, {});
  writeFileSync(join(out, object), files[object]);
}
const archive = "node_modules/@yowasp/clang/gen/llvm-resources.tar";
for (const name of ["crt1-reactor.o", "libc.a"]) {
  const entry = `lib/wasm32-wasip1/${name}`;
  writeFileSync(join(out, name), execFileSync("tar", ["xOf", archive, entry], { maxBuffer: 1 << 26 }));
}
