//! A truth must be of the policy's task.

use mobillm_core::privacy::PolicyError;
use mobillm_core::sample::{Objective, Truth};

/// Refuses a truth that is none of `objective`'s.
///
/// # Errors
/// If it is of another kind of task, a class that does not exist, or no number.
pub(crate) fn check_truth(
    policy: &'static str,
    objective: &Objective,
    truth: Truth,
) -> Result<(), PolicyError> {
    let fits = match (objective, truth) {
        (Objective::Classification { classes }, Truth::Class(class)) => (class as usize) < *classes,
        (Objective::Regression, Truth::Value(value)) => value.is_finite(),
        _ => false,
    };
    if fits {
        return Ok(());
    }
    let problem = format!("{truth:?} is no truth of a task like {objective:?}");
    Err(PolicyError::Refused { policy, problem })
}
