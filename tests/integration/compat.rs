//! Published programs that know nothing of this host; `tests/compat/run` builds and runs more of them.

use host_tests::{TestHost, policy, repo};
use serde_json::{Value, json};

fn host(name: &str) -> TestHost {
    let path = repo::root().join("tests/compat/components").join(name).with_extension("wasm");
    let workspace = r#"filesystem = [{ host = "{workspace}", guest = "/workspace", access = "read-write" }]"#;
    TestHost::with(&policy("", workspace), &[(name, &std::fs::read(path).expect("the program"))])
}

/// What a program writes to stdout for this input, live and replayed.
fn stdout(name: &str, input: Value) -> String {
    let host = host(name);
    let run = host.call(&format!("{name}.run"), input).completed();
    host.replay_equals(&run);
    run.output()["stdout"].as_str().expect("a string").to_owned()
}

#[test]
fn a_published_markdown_renderer_runs() {
    let host = host("pulldown-cmark");
    let input = json!({"args": ["--enable-tables"], "stdin": "# Title\n\n| a | b |\n|---|---|\n| 1 | *2* |\n"});
    let run = host.call("pulldown-cmark.run", input).completed();
    assert_eq!(
        run.output()["stdout"],
        "<h1>Title</h1>\n<table><thead><tr><th>a</th><th>b</th></tr></thead><tbody>\n\
         <tr><td>1</td><td><em>2</em></td></tr>\n</tbody></table>\n"
    );
    host.replay_equals(&run);
    let run = host.call("pulldown-cmark.run", json!({"args": ["--no-such-option"]}));
    assert_eq!(run.error()["exit_code"], 1, "{}", run.error());
    host.replay_equals(&run);
}

#[test]
fn a_published_json_formatter_runs() {
    let input = json!({"args": ["-m"], "stdin": "{ \"b\": [1, 2],\n  \"a\": null }\n"});
    assert_eq!(stdout("jsonxf", input), "{\"b\":[1,2],\"a\":null}");
}

#[test]
fn a_published_text_tool_runs() {
    let input = json!({"args": ["--count"], "stdin": "apple\npear\napple\n"});
    let mut lines: Vec<String> = stdout("huniq", input).lines().map(str::to_owned).collect();
    lines.sort_unstable();
    assert_eq!(lines, ["1 pear", "2 apple"]);
}

#[test]
fn a_published_packer_runs() {
    let host = host("zopfli");
    let text = "one line of many\n".repeat(40);
    host.write("lines.txt", &text);
    let run = host.call("zopfli.run", json!({"args": ["/workspace/lines.txt"]})).completed();
    host.replay_equals(&run);
    let packed = std::fs::read(host.workspace().join("lines.txt.gz")).expect("it is there");
    // The head of a gzip file, and at its end the length of what is in it.
    assert!(packed.starts_with(&[0x1f, 0x8b, 8]) && packed.len() < 80, "{packed:02x?}");
    assert!(packed.ends_with(&u32::try_from(text.len()).expect("it is short").to_le_bytes()));
}
