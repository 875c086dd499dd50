//! A suggestion as TOML, which is read back before it is handed out.

use std::collections::BTreeSet;

use super::{STATED, Wants};
use crate::id::ToolName;
use crate::lab::Recorded;
use crate::limits::StepLimits;
use crate::policy::network::{HeaderValue, NetworkRule, NetworkSettings, Roots};
use crate::policy::secrets::{EnvValue, SecretSource};
use crate::policy::{Preopen, SCHEMA, Sockets, key, quoted};
use crate::report::human::Append as _;

/// The policy as text.
pub(super) fn written(runs: &[Recorded], grants: &[(Vec<&ToolName>, Wants)]) -> String {
    let plans: BTreeSet<&str> =
        runs.iter().map(|run| run.usage.header.plan_name.as_str()).filter(|name| !name.is_empty()).collect();
    let plans: Vec<String> = plans.into_iter().map(|name| crate::problem::shown(name).replace('\n', " ")).collect();
    let mut out = String::from("# The smallest policy under which recorded runs pass");
    if !plans.is_empty() {
        out.add(format_args!(": {}", plans.join(", ")));
    }
    out.add(format_args!(".\nschema = \"{SCHEMA}\"\n"));
    let raised: Vec<(&str, u64)> = StepLimits::DEFAULT
        .entries()
        .into_iter()
        .filter_map(|(name, default)| {
            let highest =
                grants.iter().filter_map(|(_, wants)| wants.limits.get(name)).max().copied().unwrap_or_default();
            (highest > default).then_some((name, highest))
        })
        .collect();
    if !raised.is_empty() {
        out += "\n[limits]\n";
        raised.iter().for_each(|(name, limit)| out.add(format_args!("{name} = {limit}\n")));
    }
    out += &shared(runs, grants);
    for (tools, wants) in grants {
        let skill = tools.first().map(|tool| quoted(tool.skill().as_str())).unwrap_or_default();
        let mut names: Vec<String> = tools.iter().map(|tool| quoted(tool.function())).collect();
        names.sort_unstable();
        out.add(format_args!("\n[[grant]]\nskills = [{skill}]\ntools = [{}]\n", names.join(", ")));
        match wants.folders.as_slice() {
            [] => {}
            [one] => out.add(format_args!("filesystem = [{}]\n", folder(one))),
            more => {
                let lines: String = more.iter().map(|one| format!("  {},\n", folder(one))).collect();
                out.add(format_args!("filesystem = [\n{lines}]\n"));
            }
        }
        match wants.network.as_slice() {
            [] => {}
            [one] => out.add(format_args!("network = [{}]\n", rule(one))),
            more => {
                let lines: String = more.iter().map(|one| format!("  {},\n", rule(one))).collect();
                out.add(format_args!("network = [\n{lines}]\n"));
            }
        }
        if wants.sockets {
            out.add(format_args!("sockets = \"{}\"\n", Sockets::Closed.name()));
        }
        if wants.clocks {
            out += "clocks = \"real\"\n";
        }
        if wants.random {
            out += "random = \"real\"\n";
        }
        for (name, values) in [("env", &wants.env), ("config", &wants.config)] {
            let value = |value: &EnvValue| match value {
                EnvValue::Text(text) => quoted(text),
                EnvValue::Secret(name) => format!("{{ secret = {} }}", quoted(name)),
                EnvValue::Request { name, default: None } => format!("{{ request = {} }}", quoted(name)),
                EnvValue::Request { name, default: Some(text) } => {
                    format!("{{ request = {}, default = {} }}", quoted(name), quoted(text))
                }
            };
            if !values.is_empty() {
                let values: Vec<String> =
                    values.iter().map(|(name, given)| format!("{} = {}", key(name), value(given))).collect();
                out.add(format_args!("{name} = {{ {} }}\n", values.join(", ")));
            }
        }
        if !wants.calls.is_empty() {
            let calls: Vec<String> = wants.calls.iter().map(|tool| quoted(&tool.to_string())).collect();
            out.add(format_args!("calls = [{}]\n", calls.join(", ")));
        }
        if let Some(approval) = wants.approval {
            out.add(format_args!("approval = \"{}\"\n", approval.name()));
        }
        let limits: Vec<String> =
            STATED.iter().filter_map(|name| wants.limits.get(name).map(|limit| format!("{name} = {limit}"))).collect();
        out.add(format_args!("limits = {{ {} }}\n", limits.join(", ")));
    }
    out
}

/// `[network]` and `[secrets]`, as far as the grants use them, as the runs' policies have them.
fn shared(runs: &[Recorded], grants: &[(Vec<&ToolName>, Wants)]) -> String {
    let mut out = String::new();
    let rules: Vec<&NetworkRule> = grants.iter().flat_map(|(_, wants)| &wants.network).collect();
    let policies = || runs.iter().filter_map(|run| run.policy.as_ref());
    let settings = policies().map(|policy| &policy.network).find(|settings| **settings != NetworkSettings::default());
    if let Some(NetworkSettings { dns, roots }) = settings.filter(|_| !rules.is_empty()) {
        out += "\n[network]\n";
        if let Some(dns) = dns {
            out.add(format_args!("dns = \"{dns}\"\n"));
        }
        if let Roots::File { path: file, .. } = roots {
            out.add(format_args!("roots = {{ file = {} }}\n", quoted(&file.to_string_lossy())));
        }
    }
    let mut used: BTreeSet<&str> = rules.iter().flat_map(|rule| &rule.secrets).map(String::as_str).collect();
    used.extend(rules.iter().flat_map(|rule| rule.headers.values()).filter_map(|value| match value {
        HeaderValue::Secret { name, .. } => Some(name.as_str()),
        HeaderValue::Text(_) => None,
    }));
    let told = grants.iter().flat_map(|(_, wants)| wants.env.values().chain(wants.config.values()));
    used.extend(told.filter_map(|value| match value {
        EnvValue::Secret(name) => Some(name.as_str()),
        EnvValue::Text(_) | EnvValue::Request { .. } => None,
    }));
    let declared =
        used.iter().filter_map(|name| Some((name, policies().find_map(|policy| policy.secrets.get(*name))?)));
    for (index, (name, declaration)) in declared.enumerate() {
        let source = match &declaration.source {
            SecretSource::Env(variable) => format!("env = {}", quoted(variable)),
            SecretSource::File(file) => format!("file = {}", quoted(&file.to_string_lossy())),
        };
        let head = if index == 0 { "\n[secrets]\n" } else { "" };
        out.add(format_args!("{head}{name} = {{ {source} }}\n"));
    }
    out
}

fn rule(rule: &NetworkRule) -> String {
    let list = |items: &mut dyn Iterator<Item = String>| items.map(|item| quoted(&item)).collect::<Vec<_>>().join(", ");
    let methods = list(&mut rule.methods.iter().cloned());
    let mut out = format!("{{ url = {}, methods = [{methods}]", quoted(&rule.url()));
    if !rule.addresses.is_empty() {
        out.add(format_args!(", addresses = [{}]", list(&mut rule.addresses.iter().map(ToString::to_string))));
    }
    if !rule.headers.is_empty() {
        let header = |(name, value): (&String, &HeaderValue)| match value {
            HeaderValue::Text(text) => format!("{} = {}", key(name), quoted(text)),
            HeaderValue::Secret { name: secret, prefix } if prefix.is_empty() => {
                format!("{} = {{ secret = {} }}", key(name), quoted(secret))
            }
            HeaderValue::Secret { name: secret, prefix } => {
                format!("{} = {{ secret = {}, prefix = {} }}", key(name), quoted(secret), quoted(prefix))
            }
        };
        out.add(format_args!(", headers = {{ {} }}", rule.headers.iter().map(header).collect::<Vec<_>>().join(", ")));
    }
    if !rule.secrets.is_empty() {
        out.add(format_args!(", secrets = [{}]", list(&mut rule.secrets.iter().cloned())));
    }
    out + " }"
}

fn folder(preopen: &Preopen) -> String {
    let Preopen { host, guest, access } = preopen;
    format!("{{ host = {}, guest = {}, access = \"{}\" }}", quoted(host), quoted(guest), access.name())
}
