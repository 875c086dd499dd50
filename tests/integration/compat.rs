//! A published program that knows nothing of this host; `tests/compat/run` builds and runs more of them.

use host_tests::{TestHost, policy, repo};
use serde_json::json;

#[test]
fn a_published_markdown_renderer_runs() {
    let program = std::fs::read(repo::root().join("tests/compat/components/pulldown-cmark.wasm")).expect("the program");
    let host = TestHost::with(&policy("", ""), &[("pulldown-cmark", &program)]);
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
