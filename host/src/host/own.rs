//! What is the host's own, by its configuration. Looks at nothing: whoever opens a run's folders does.

use super::SkillHost;
use crate::policy::network::Roots;
use crate::policy::secrets::SecretSource;
use crate::sandbox::OwnPaths;

impl SkillHost {
    /// What no grant reaches.
    pub(crate) fn own_paths(&self) -> OwnPaths {
        let mut own = OwnPaths::default();
        own.add(self.store.state(), "the state folder");
        if let Some(code) = self.code.folder() {
            own.add(code, "the compiled code");
        }
        for file in self.policy_origin.file.iter().chain(&self.policy.files) {
            own.add(file, "the policy");
        }
        for declaration in self.policy.policy.secrets.values() {
            if let SecretSource::File(file) = &declaration.source {
                own.add(file, "a secret");
            }
        }
        if let Roots::File { path, .. } = &self.policy.policy.network.roots {
            own.add(path, "the root certificates");
        }
        for path in &self.protected {
            own.add(path, "the host's own files");
        }
        if let Ok(program) = std::env::current_exe() {
            own.add(&program, "the running program");
        }
        own
    }
}
