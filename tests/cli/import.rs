//! Rules of other systems, imported.

use insta::assert_snapshot;

use crate::program::Program;

#[test]
fn ordered_rules_become_cedar() {
    let program = Program::new();
    program.write(
        "policies.yaml",
        "default: DENY\nrules:\n  - { principal: 'role:intern', when: { capability: files.remove }, decision: DENY }\n  \
         - { principal: 'agent:*', when: { capability: 'files.*', risk_level: HIGH }, decision: REQUIRE_APPROVAL }\n  \
         - { principal: 'agent:*', capabilities: ['files.*', csv.filter], action: ALLOW }\n",
    );
    let ended = program.run(&["policy", "import", "policies.yaml"]);
    assert_eq!(ended.code, 0, "{}", ended.all());
    assert_snapshot!("import", ended.stdout);
}

#[test]
fn what_has_no_meaning_here_is_refused() {
    let program = Program::new();
    program.write("policies.yaml", "default: ALLOW\nrules: []\n");
    let ended = program.run(&["policy", "import", "policies.yaml"]);
    assert_eq!(ended.code, 2);
    assert!(ended.stderr.contains("/default: the default is"), "{}", ended.stderr);
}
