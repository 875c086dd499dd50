//! Which of our tools stands for which capability: the one table, with the names of what each takes and gives.
//!
//! A capability that is not here has no counterpart that means the same; [`missing`] says why, where that is known.

/// A capability and the tool that means the same.
#[derive(Debug)]
pub(super) struct Capability {
    /// Its names.
    pub(super) names: &'static [&'static str],
    pub(super) tool: &'static str,
    pub(super) params: &'static [Param],
    /// Keys of what it gave, and where that is in what the tool gives; empty where that is the whole.
    pub(super) gives: &'static [(&'static str, &'static str)],
    /// A parameter of the tool without which it would do something else, with the reason.
    pub(super) adds: Option<(&'static str, bool, &'static str)>,
}

/// A parameter: its name there, its name here.
#[derive(Debug)]
pub(super) struct Param {
    pub(super) theirs: &'static str,
    pub(super) ours: &'static str,
    pub(super) as_: As,
}

/// How a value is taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum As {
    /// As it is.
    Is,
    /// A path, or a list of paths, of which relative ones are below the workspace.
    Path,
    /// An encoding: only UTF-8 is written and read here, so that it needs no word.
    Utf8,
    /// A digest's algorithm: only SHA-256.
    Sha256,
    /// Headers as an object, which are a list of names and values here.
    Headers,
}

const fn is(theirs: &'static str, ours: &'static str) -> Param {
    Param { theirs, ours, as_: As::Is }
}

const fn path(theirs: &'static str, ours: &'static str) -> Param {
    Param { theirs, ours, as_: As::Path }
}

const ENCODING: Param = Param { theirs: "encoding", ours: "", as_: As::Utf8 };
const OVERWRITE: Param = is("overwrite", "overwrite");
const HEADERS: Param = Param { theirs: "headers", ours: "headers", as_: As::Headers };

/// From one place to another, by any of the names in use.
const FROM_TO: &[Param] = &[
    is("source", "source"),
    is("src", "source"),
    is("dest", "target"),
    is("destination", "target"),
    is("target", "target"),
    is("dst", "target"),
    OVERWRITE,
];
const MOVED: &[(&str, &str)] = &[
    ("source", "source"),
    ("src", "source"),
    ("dest", "target"),
    ("destination", "target"),
    ("target", "target"),
    ("dst", "target"),
];
const WRITTEN: &[(&str, &str)] = &[("path", "path"), ("bytes_written", "bytes"), ("size", "bytes")];
const ANSWER: &[(&str, &str)] = &[("status", "status"), ("status_code", "status"), ("body", "body"), ("text", "body")];

/// The capabilities of workflows.
pub(super) const AI_FIRST: &[Capability] = &[
    Capability {
        names: &["io.fs.read_file"],
        tool: "files.read-text",
        params: &[is("path", "path"), ENCODING],
        gives: &[("content", "")],
        adds: None,
    },
    Capability {
        names: &["io.fs.write_file"],
        tool: "files.write-text",
        params: &[is("path", "path"), is("content", "text"), ENCODING, OVERWRITE],
        gives: WRITTEN,
        adds: None,
    },
    Capability {
        names: &["io.fs.list_dir"],
        tool: "files.list",
        params: &[is("path", "path")],
        gives: &[("entries", "")],
        adds: None,
    },
    Capability {
        names: &["io.fs.make_dir"],
        tool: "files.make-dir",
        params: &[is("path", "path"), is("parents", "parents")],
        gives: &[("path", "path"), ("created", "created")],
        adds: None,
    },
    Capability {
        names: &["io.fs.delete"],
        tool: "files.remove",
        params: &[is("path", "path"), is("recursive", "recursive")],
        gives: &[("path", "path")],
        adds: None,
    },
    Capability {
        names: &["io.fs.exists"],
        tool: "files.exists",
        params: &[is("path", "path")],
        gives: &[("exists", "")],
        adds: None,
    },
    Capability { names: &["io.fs.move"], tool: "files.move", params: FROM_TO, gives: MOVED, adds: None },
    Capability { names: &["io.fs.copy"], tool: "files.copy", params: FROM_TO, gives: MOVED, adds: None },
    Capability {
        names: &["io.fs.hash_file"],
        tool: "files.hash",
        params: &[is("path", "path"), Param { theirs: "algorithm", ours: "", as_: As::Sha256 }],
        gives: &[("hash", "sha256"), ("sha256", "sha256"), ("digest", "sha256")],
        adds: None,
    },
    Capability {
        names: &["net.http.get"],
        tool: "http.get",
        params: &[is("url", "url"), HEADERS],
        gives: ANSWER,
        adds: None,
    },
    Capability {
        names: &["net.http.post"],
        tool: "http.post",
        params: &[is("url", "url"), is("body", "text"), is("content_type", "content-type"), HEADERS],
        gives: ANSWER,
        adds: None,
    },
    Capability {
        names: &["net.http.put"],
        tool: "http.put",
        params: &[is("url", "url"), is("body", "text"), is("content_type", "content-type"), HEADERS],
        gives: ANSWER,
        adds: None,
    },
];

const ONE_PATH: &[Param] = &[path("relative_path", "path"), is("abs_path", "path"), ENCODING];
const WITH_CONTENT: &[Param] =
    &[path("relative_path", "path"), is("abs_path", "path"), is("content", "text"), ENCODING];
const SRC_DST: &[Param] =
    &[path("src", "source"), is("abs_src", "source"), path("dst", "target"), is("abs_dst", "target"), OVERWRITE];

/// The skills of plans. Nothing refers to what they give.
pub(super) const AVATAR: &[Capability] = &[
    Capability {
        names: &["file.write", "file.write_text", "file.create", "file.save"],
        tool: "files.write-text",
        params: WITH_CONTENT,
        gives: &[],
        adds: None,
    },
    Capability {
        names: &["file.read", "file.read_text", "fs.read"],
        tool: "files.read-text",
        params: ONE_PATH,
        gives: &[],
        adds: None,
    },
    Capability {
        names: &["file.append", "file.append_text", "file.add_content"],
        tool: "files.append",
        params: WITH_CONTENT,
        gives: &[],
        adds: None,
    },
    Capability {
        names: &["file.move", "file.mv", "file.rename", "fs.move"],
        tool: "files.move",
        params: SRC_DST,
        gives: &[],
        adds: Some(("overwrite", true, "a move replaces what is at its target there, and refuses to here")),
    },
    Capability {
        names: &["file.copy", "file.cp", "fs.copy"],
        tool: "files.copy",
        params: SRC_DST,
        gives: &[],
        adds: None,
    },
    Capability {
        names: &["file.remove", "file.delete", "file.rm", "fs.remove"],
        tool: "files.remove",
        params: &[path("relative_path", "path"), is("abs_path", "path")],
        gives: &[],
        adds: None,
    },
    Capability {
        names: &["file.concat", "file.merge", "file.combine"],
        tool: "files.concat",
        params: &[path("sources", "sources"), path("output", "output"), is("separator", "separator"), ENCODING],
        gives: &[],
        adds: None,
    },
];

/// The one of that name.
pub(super) fn find(table: &'static [Capability], name: &str) -> Option<&'static Capability> {
    table.iter().find(|capability| capability.names.contains(&name))
}

/// What to do about a capability that has no counterpart.
pub(super) fn missing(name: &str) -> String {
    let special = [
        ("sys.undo", "every step is undone by itself where a run rolls back: `enable_auto_rollback: true` asks for it"),
        ("sys.exec", "no program of the machine is ever started: write the work as a skill and name it with `--map`"),
        ("sys.info", "a plan's runs do not depend on the machine: give what it says as an input"),
    ];
    let special = special
        .iter()
        .find(|(prefix, _)| name.strip_prefix(*prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')));
    match special {
        Some((_, hint)) => (*hint).to_owned(),
        None => format!("name the tool that does this with `--map {name}=skill.tool`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_there_once() {
        for table in [AI_FIRST, AVATAR] {
            let names: Vec<&str> = table.iter().flat_map(|one| one.names.iter().copied()).collect();
            let distinct: std::collections::BTreeSet<&str> = names.iter().copied().collect();
            assert_eq!(names.len(), distinct.len());
            for one in table {
                let theirs: std::collections::BTreeSet<&str> = one.params.iter().map(|param| param.theirs).collect();
                assert_eq!(theirs.len(), one.params.len(), "{:?}", one.names);
            }
        }
    }

    #[test]
    fn hints_say_what_to_do_instead() {
        assert!(missing("sys.undo").contains("rolls back"));
        assert!(missing("sys.exec.run").contains("no program"));
        assert!(missing("sys.executor").contains("--map sys.executor="));
        assert!(missing("cloud.db.create").contains("--map cloud.db.create=skill.tool"));
    }
}
