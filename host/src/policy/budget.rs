//! `[run]`: what a run may use in all, over its steps. A step gets no more than is left; one for which nothing is left is denied.

use crate::limits::{self, StepLimits};

/// The budget of a run; `None` where the policy sets none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RunBudget {
    /// Steps of the plan. A plan with more is denied before anything runs.
    pub steps: Option<u64>,
    /// Fuel of all steps.
    pub fuel: Option<u64>,
    /// Host calls of all steps.
    pub host_calls: Option<u64>,
    /// Milliseconds from the first step's begin.
    pub deadline_ms: Option<u64>,
    /// Attempts of a step, the first included: the ceiling of every `retry` of a plan. See [`Self::attempts_ceiling`].
    pub attempts: Option<u64>,
}

impl RunBudget {
    /// The keys of `[run]` with the most that each may be.
    pub const KEYS: [(&'static str, u64); 5] = [
        ("steps", limits::STEPS_MAX as u64),
        ("fuel", limits::FUEL_MAX),
        ("host_calls", limits::RUN_HOST_CALLS_MAX),
        ("deadline_ms", limits::RUN_DEADLINE_MS_MAX),
        ("attempts", limits::ATTEMPTS_MAX as u64),
    ];

    /// The attempts that a step may have: one where the policy says nothing.
    #[must_use]
    pub fn attempts_ceiling(&self) -> u32 {
        self.attempts.and_then(|attempts| u32::try_from(attempts).ok()).unwrap_or(1)
    }

    /// Each budget that is set, as (key, amount).
    pub fn entries(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let all = [self.steps, self.fuel, self.host_calls, self.deadline_ms, self.attempts];
        Self::KEYS.into_iter().zip(all).filter_map(|((key, _), amount)| Some((key, amount?)))
    }

    pub(super) fn slot(&mut self, key: &str) -> Option<&mut Option<u64>> {
        Some(match key {
            "steps" => &mut self.steps,
            "fuel" => &mut self.fuel,
            "host_calls" => &mut self.host_calls,
            "deadline_ms" => &mut self.deadline_ms,
            "attempts" => &mut self.attempts,
            _ => return None,
        })
    }
}

/// A budget of which nothing is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exhausted {
    /// Its key in `[run]`.
    pub key: &'static str,
    /// What it was.
    pub amount: u64,
}

impl Exhausted {
    /// The reason of the denial.
    #[must_use]
    pub fn reason(&self) -> String {
        let Self { key, amount } = self;
        format!("the run's budget of `{key}`, which is {amount}, is used up")
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        format!("if the plan shall have more, raise `{}` in `[run]` of the policy", self.key)
    }
}

/// What the steps that ended have used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spent {
    fuel: u64,
    host_calls: u64,
}

impl Spent {
    /// Adds what a step used. Of a step whose end was not deterministic the fuel is not known; no step comes after it.
    pub fn add(&mut self, fuel: Option<u64>, host_calls: u64) {
        self.fuel = self.fuel.saturating_add(fuel.unwrap_or_default());
        self.host_calls = self.host_calls.saturating_add(host_calls);
    }

    /// The limits of the next step: its own, lowered to what is left. A function of the steps before it, so that it is the same in a
    /// replay; the time is not in it.
    ///
    /// # Errors
    ///
    /// [`Exhausted`] where nothing is left.
    pub fn limits(&self, budget: &RunBudget, own: StepLimits) -> Result<StepLimits, Exhausted> {
        let left = |key, amount: Option<u64>, spent: u64, own: u64| match amount {
            None => Ok(own),
            Some(amount) if spent >= amount => Err(Exhausted { key, amount }),
            Some(amount) => Ok(own.min(amount - spent)),
        };
        let fuel = left("fuel", budget.fuel, self.fuel, own.fuel)?;
        let host_calls = left("host_calls", budget.host_calls, self.host_calls, own.host_calls)?;
        Ok(StepLimits { fuel, host_calls, ..own })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Policy;

    #[test]
    fn a_step_gets_what_is_left_and_nothing_less_than_one() {
        let budget = RunBudget { fuel: Some(100), host_calls: Some(10), ..RunBudget::default() };
        let own = StepLimits { fuel: 80, host_calls: 7, ..StepLimits::DEFAULT };
        let mut spent = Spent::default();
        assert_eq!(spent.limits(&budget, own), Ok(own));
        spent.add(Some(30), 5);
        assert_eq!(spent.limits(&budget, own), Ok(StepLimits { fuel: 70, host_calls: 5, ..own }));
        spent.add(Some(69), 4);
        assert_eq!(spent.limits(&budget, own), Ok(StepLimits { fuel: 1, host_calls: 1, ..own }));
        spent.add(Some(0), 1);
        assert_eq!(spent.limits(&budget, own), Err(Exhausted { key: "host_calls", amount: 10 }));
        spent.add(Some(1), 0);
        assert_eq!(spent.limits(&budget, own), Err(Exhausted { key: "fuel", amount: 100 }));
        assert_eq!(spent.limits(&RunBudget::default(), own), Ok(own), "no budget is no bound");
        spent.add(Some(u64::MAX), u64::MAX);
        assert!(spent.limits(&budget, own).is_err());
    }

    #[test]
    fn the_budget_is_read_from_run() {
        let policy = |run: &str| Policy::parse(&format!("schema = \"skillhost.policy/1\"\n[run]\n{run}\n"));
        let all = policy("steps = 3\nfuel = 1000\nhost_calls = 20\ndeadline_ms = 5000\nattempts = 3").unwrap().run;
        assert_eq!(
            all,
            RunBudget {
                steps: Some(3),
                fuel: Some(1000),
                host_calls: Some(20),
                deadline_ms: Some(5000),
                attempts: Some(3)
            }
        );
        assert_eq!(all.entries().count(), 5);
        assert_eq!(policy("").unwrap().run, RunBudget::default());
        for (key, max) in RunBudget::KEYS {
            assert!(policy(&format!("{key} = {max}")).is_ok(), "{key}");
            for wrong in ["0".to_owned(), "-1".to_owned(), (max + 1).to_string(), "\"1\"".to_owned()] {
                assert_eq!(policy(&format!("{key} = {wrong}")).unwrap_err().len(), 1, "{key} = {wrong}");
            }
        }
        assert_eq!(policy("memory_bytes = 5").unwrap_err()[0].code, "unknown-key");
    }
}
