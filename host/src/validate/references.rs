//! References held against what they name: inputs have values, outputs have types.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::id::StepId;
use crate::limits;
use crate::plan::draft::{Gaps, Outline};
use crate::plan::template::{Node, Outputs, Part, Reference, Root, Scope, Template};
use crate::problem::{Problem, Problems, suggestion};
use crate::types::assign::assignable;
use crate::types::check::{Path, check};
use crate::types::{Mismatch, Ty, type_at};

/// Inputs are looked up as at run time, when nothing has run yet.
static NONE: Outputs = Outputs::new();

/// What references can name.
pub(super) struct Types<'p> {
    /// `None` where they are not known.
    inputs: Option<&'p Map<String, Value>>,
    gaps: &'p Gaps,
    by_id: &'p BTreeMap<StepId, usize>,
    outputs: Vec<OutputType<'p>>,
    /// Addresses of inputs and of the types that they have been found to be of, so that a large input is checked once.
    fitting: RefCell<BTreeSet<(usize, usize)>>,
    /// Bytes of text that may still be made for checking it. What is left out is checked when the step runs.
    text_bytes_left: Cell<usize>,
}

/// What is known of a step's output: `None` if its tool is not known, `Some(None)` if its output is null.
pub(super) type OutputType<'p> = Option<Option<&'p Ty>>;

/// What is known before the run of what a reference names.
pub(super) enum Known<'p> {
    Value(&'p Value),
    Type(&'p Ty),
    /// The output of a tool that gives none.
    Null,
    /// Nothing; the reason has been reported.
    Nothing,
}

impl<'p> Types<'p> {
    pub(super) fn new(plan: &Outline<'p>, by_id: &'p BTreeMap<StepId, usize>, outputs: Vec<OutputType<'p>>) -> Self {
        let text_bytes_left = Cell::new(limits::TEMPLATE_TEXT_BYTES_MAX);
        Self { inputs: plan.inputs, gaps: plan.gaps, by_id, outputs, fitting: RefCell::default(), text_bytes_left }
    }

    /// Reports each reference of `template` that names nothing. `own` is the step it belongs to.
    pub(super) fn check(&self, template: &Template, own: Option<&StepId>, problems: &mut Problems) {
        for located in template.references() {
            if problems.is_full() {
                return problems.skip();
            }
            let reference = located.reference;
            let problem = |code: &str, message: String, hint: Option<String>| {
                let message = format!("`{{{{{reference}}}}}`: {message}");
                Problem { hint, ..Problem::new(code, located.pointer.as_str(), message) }
            };
            if let Root::Step(id) = &reference.root {
                if Some(id) == own {
                    let hint = "a step can use outputs of other steps only";
                    problems.push(problem(
                        "self-reference",
                        format!("step `{id}` refers to itself"),
                        Some(hint.to_owned()),
                    ));
                    continue;
                }
                if !self.by_id.contains_key(id) {
                    if self.gaps.may_have_step(id.as_str()) {
                        continue;
                    }
                    let known = self.by_id.keys().map(StepId::as_str);
                    let hint = suggestion(id.as_str(), known);
                    problems.push(problem("unknown-step", format!("there is no step `{id}`"), hint));
                    continue;
                }
            }
            if let Err(mismatch) = self.known(reference) {
                problems.push(problem("unresolvable-reference", mismatch.message, mismatch.hint));
            }
        }
    }

    /// Reports each reference of `template` that names anything but an input.
    pub(super) fn check_inputs_only(&self, template: &Template, problems: &mut Problems) {
        for located in template.references() {
            if problems.is_full() {
                return problems.skip();
            }
            if let Root::Step(id) = &located.reference.root {
                let message = format!("`{{{{{}}}}}`: the step `{id}` may not have run", located.reference);
                let hint = "what ends a rollback can refer to inputs only; undo a step by its own `compensate`";
                problems.push(Problem::new("unresolvable-reference", located.pointer, message).with_hint(hint));
            } else if let Err(mismatch) = self.known(located.reference) {
                let message = format!("`{{{{{}}}}}`: {}", located.reference, mismatch.message);
                let problem = Problem::new("unresolvable-reference", located.pointer, message);
                problems.push(Problem { hint: mismatch.hint, ..problem });
            }
        }
    }

    pub(super) fn known(&self, reference: &Reference) -> Result<Known<'_>, Mismatch> {
        let Root::Step(id) = &reference.root else {
            let Some(inputs) = self.inputs else { return Ok(Known::Nothing) };
            return Scope { inputs, outputs: &NONE }.lookup(reference).map(Known::Value);
        };
        match self.by_id.get(id).and_then(|&index| self.outputs.get(index)) {
            Some(Some(Some(ty))) => type_at(ty, &reference.path).map(Known::Type),
            Some(Some(None)) if reference.path.is_empty() => Ok(Known::Null),
            Some(Some(None)) => {
                Err(Mismatch::new("the step's tool gives no output").hint("use `depends_on` to run after it"))
            }
            _ => Ok(Known::Nothing),
        }
    }

    /// Whether the string with references `node` will be a value of type `ty`.
    pub(super) fn check_hole(&self, node: &Node, ty: &Ty, pointer: &str, problems: &mut Problems) {
        let refuse = |mismatch: Mismatch, problems: &mut Problems| {
            let mut problem = Problem::new("type-mismatch", pointer, mismatch.message);
            problem.hint = mismatch.hint;
            problems.push(problem);
        };
        match node {
            Node::Whole(reference) => match self.known(reference) {
                Ok(Known::Value(value)) => self.check_value(value, ty, pointer, problems),
                Ok(Known::Type(from)) => {
                    if let Err(mismatch) = assignable(from, ty) {
                        let message = format!("`{{{{{reference}}}}}`: {}", mismatch.message);
                        refuse(Mismatch { message, ..mismatch }, problems);
                    }
                }
                Ok(Known::Null) if !ty.is_nullable() => {
                    let message =
                        format!("`{{{{{reference}}}}}` is null, for its tool gives no output; `{ty:.80}` is expected");
                    refuse(Mismatch::new(message).hint("use `depends_on` to run after it"), problems);
                }
                _ => {}
            },
            Node::Text(parts) => {
                let is_input = |part: &Part| match part {
                    Part::Literal(_) => true,
                    Part::Reference(reference) => matches!(reference.root, Root::Input(_)),
                };
                if assignable(&Ty::String, ty).is_ok() {
                    return;
                }
                if parts.iter().all(is_input) {
                    self.check_known_text(node, ty, pointer, problems);
                } else {
                    let message = format!("a text with references in it is a string, `{ty:.80}` is expected");
                    let hint = "a string that is one reference and nothing else keeps the type of its value";
                    refuse(Mismatch::new(message).hint(hint), problems);
                }
            }
            _ => {}
        }
    }

    pub(super) fn check_value(&self, value: &Value, ty: &Ty, pointer: &str, problems: &mut Problems) {
        // INVARIANT: inputs and the types of tools live and stay where they are as long as `self` borrows them; the one type that is
        // made for a check is no type of a container.
        let key = (std::ptr::from_ref(value).addr(), std::ptr::from_ref(ty).addr());
        let is_container = value.is_array() || value.is_object();
        if is_container && self.fitting.borrow().contains(&key) {
            return;
        }
        let before = problems.count();
        check(value, ty, pointer, problems);
        if is_container && problems.count() == before {
            self.fitting.borrow_mut().insert(key);
        }
    }

    /// Text in which everything is known already.
    fn check_known_text(&self, node: &Node, ty: &Ty, pointer: &str, problems: &mut Problems) {
        let Some(inputs) = self.inputs.filter(|_| self.text_bytes_left.get() > 0) else { return };
        let scope = Scope { inputs, outputs: &NONE };
        let lookup = |reference: &Reference| scope.lookup(reference).map(Cow::Borrowed);
        match node.resolve_alone(&Path::root(pointer), &lookup) {
            Ok(text) => {
                let length = text.as_str().map_or(0, str::len);
                self.text_bytes_left.set(self.text_bytes_left.get().saturating_sub(length));
                check(&text, ty, pointer, problems);
            }
            // References that name nothing have been reported.
            Err(problem) if problem.code == "unresolvable-reference" => {}
            Err(problem) => problems.push(problem),
        }
    }
}
