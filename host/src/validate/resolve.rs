//! Inputs, questions, conditions and the plan's output with their references replaced by what steps gave.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::{Call, Outputs, ValidPlan, ValidStep, Work, places};
use crate::canonical;
use crate::limits;
use crate::plan::template::{Budget, Lookup, Reference, Root, Scope, Template};
use crate::plan::{Action, ApproveStep, Condition, ToolCall};
use crate::problem::{Problem, Problems};
use crate::types::check::check_params;
use crate::types::{Ty, type_at};

/// What somebody is asked, with references replaced.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// The message.
    pub message: String,
    /// The context: an object.
    pub context: Map<String, Value>,
}

impl ValidPlan {
    /// The input of `step` with its references replaced by what earlier steps gave, checked against the tool's parameters. Of a step that
    /// approves it is what is asked: `message` and `context`.
    ///
    /// # Errors
    ///
    /// The first problem: what types cannot promise, such as an index beyond a list's end or text that grew too large.
    pub fn resolve_input(&self, step: &ValidStep<'_>, outputs: &Outputs) -> Result<Value, Problem> {
        match (&step.step.action, step.work) {
            (Action::Tool(template), Work::Call(call)) => {
                self.resolve_call(&format!("step `{}`", step.id), template, call, outputs)
            }
            (_, Work::Approve(approve)) | (Action::Approve(approve), _) => {
                let Question { message, context } = self.resolve_question(approve, outputs)?;
                Ok(Value::Object(Map::from_iter([
                    ("message".to_owned(), Value::String(message)),
                    ("context".to_owned(), Value::Object(context)),
                ])))
            }
        }
    }

    /// What a step that approves asks, with its references replaced.
    ///
    /// # Errors
    ///
    /// As [`Self::resolve_input`].
    pub fn resolve_question(&self, approve: &ApproveStep, outputs: &Outputs) -> Result<Question, Problem> {
        let lookup = self.lookup(outputs);
        let message = match approve.message.resolve_with(&lookup)? {
            Value::String(message) => message,
            other => canonical::to_string(&other),
        };
        let context = approve.context.as_ref().map(|context| context.resolve_with(&lookup)).transpose()?;
        if let (Some(template), Some(context)) = (&approve.context, &context) {
            shallow(context, template.pointer())?;
        }
        let context = match context {
            Some(Value::Object(context)) => context,
            _ => Map::new(),
        };
        Ok(Question { message, context })
    }

    /// The input of the call that undoes `step`, with its references replaced: `outputs` has that of the step itself. `None` where nothing
    /// undoes it.
    ///
    /// # Errors
    ///
    /// As [`Self::resolve_input`].
    pub fn resolve_compensation(&self, step: &ValidStep<'_>, outputs: &Outputs) -> Result<Option<Value>, Problem> {
        let (Some(template), Some(call)) = (&step.step.compensate, step.compensation) else { return Ok(None) };
        self.resolve_call(&format!("the compensation of step `{}`", step.id), template, call, outputs).map(Some)
    }

    /// The input of the call of [`Self::compensations`] at `index`. `None` where there is none.
    ///
    /// # Errors
    ///
    /// As [`Self::resolve_input`].
    pub fn resolve_last(&self, index: usize) -> Result<Option<Value>, Problem> {
        let (Some(template), Some(bound)) = (self.plan.compensate.get(index), self.last.get(index)) else {
            return Ok(None);
        };
        self.resolve_call(&format!("compensation {index}"), template, Call::of(bound), &Outputs::default()).map(Some)
    }

    /// The two sides of a condition of a step, with their references replaced. All conditions of a step have one `budget`: a hundred of them
    /// that refer to one large output cost no more than one template may.
    ///
    /// # Errors
    ///
    /// As [`Self::resolve_input`].
    pub(crate) fn resolve_condition(
        &self,
        condition: &Condition,
        outputs: &Outputs,
        budget: &mut Budget,
    ) -> Result<(Value, Value), Problem> {
        let lookup = self.lookup(outputs);
        let value = condition.value.resolve_within(&lookup, budget)?;
        Ok((value, condition.operand.resolve_within(&lookup, budget)?))
    }

    fn resolve_call(
        &self,
        whose: &str,
        template: &ToolCall,
        Call { tool, .. }: Call<'_>,
        outputs: &Outputs,
    ) -> Result<Value, Problem> {
        let input = template.input.resolve_with(&self.lookup(outputs))?;
        if template.input.is_literal() {
            // Validation has checked all of it.
            return Ok(input);
        }
        let mut problems = Problems::default();
        let owner = places::owner(whose, &tool.name);
        check_params(&input, &tool.params, &owner, template.input.pointer(), &mut problems);
        problems.into_vec().into_iter().next().map_or(Ok(input), Err)
    }

    /// The input of `step` where no step has to run for it: its references, if it has any, are to the plan's inputs alone.
    #[must_use]
    pub fn known_input(&self, step: &ValidStep<'_>) -> Option<Value> {
        let template = &step.step.call()?.input;
        if refers_to_steps(template) {
            return None;
        }
        // One that cannot be resolved is an error of the run when its turn comes.
        self.resolve_input(step, &Outputs::default()).ok()
    }

    /// The input of the call that undoes `step`, where no step has to run for it.
    #[must_use]
    pub fn known_compensation(&self, step: &ValidStep<'_>) -> Option<Value> {
        if refers_to_steps(&step.step.compensate.as_ref()?.input) {
            return None;
        }
        self.resolve_compensation(step, &Outputs::default()).ok().flatten()
    }

    /// What the run gives back: the plan's `output` with its references replaced; null where the plan has none. A step without an output
    /// was skipped, for nothing else leaves one out of a run that completed: what the plan's output has of it is null.
    ///
    /// # Errors
    ///
    /// As [`Self::resolve_input`].
    pub fn resolve_output(&self, outputs: &Outputs) -> Result<Value, Problem> {
        let Some(output) = &self.plan.output else { return Ok(Value::Null) };
        let lookup = self.lookup(outputs);
        let resolved = output.resolve_with(&|reference| match &reference.root {
            Root::Step(id) if !outputs.contains_key(id) => Ok(Cow::Owned(Value::Null)),
            _ => lookup(reference),
        })?;
        shallow(&resolved, output.pointer())?;
        Ok(resolved)
    }

    /// Looks references up as [`Scope`] does, and finds null where a record leaves out a field that is an option.
    fn lookup<'l>(&'l self, outputs: &'l Outputs) -> Box<Lookup<'l>> {
        let scope = Scope { inputs: &self.plan.inputs, outputs };
        Box::new(move |reference| {
            scope.lookup(reference).map(Cow::Borrowed).or_else(|mismatch| {
                if self.is_absent_option(reference, outputs) { Ok(Cow::Owned(Value::Null)) } else { Err(mismatch) }
            })
        })
    }

    fn is_absent_option(&self, reference: &Reference, outputs: &Outputs) -> bool {
        let (Root::Step(id), Some((_, parent))) = (&reference.root, reference.path.split_last()) else { return false };
        let ty = self.step_by_id(id).and_then(|step| step.output_type());
        let parent_is_there = || {
            let parent = Reference { root: reference.root.clone(), path: parent.to_vec() };
            Scope { inputs: &self.plan.inputs, outputs }.lookup(&parent).is_ok()
        };
        ty.is_some_and(|ty| {
            type_at(ty, parent).is_ok_and(|ty| matches!(ty, Ty::Record(_)))
                && type_at(ty, &reference.path).is_ok_and(Ty::is_nullable)
        }) && parent_is_there()
    }
}

/// Refuses what is nested deeper than a trace holds.
fn shallow(value: &Value, pointer: &str) -> Result<(), Problem> {
    fn fits(value: &Value, left: usize) -> bool {
        match value {
            Value::Array(items) => left > 0 && items.iter().all(|item| fits(item, left - 1)),
            Value::Object(members) => left > 0 && members.values().all(|member| fits(member, left - 1)),
            _ => true,
        }
    }
    if fits(value, limits::RESOLVED_DEPTH_MAX) {
        return Ok(());
    }
    let message = format!("with its references resolved it is nested deeper than {}", limits::RESOLVED_DEPTH_MAX);
    Err(Problem::new("too-deep", pointer, message))
}

/// Whether a value cannot be known before steps have run.
fn refers_to_steps(template: &Template) -> bool {
    !template.is_literal()
        && template.references().iter().any(|located| matches!(located.reference.root, Root::Step(_)))
}
