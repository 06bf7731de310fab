//! What sees every answer last.

use std::{fmt, sync::Arc};

use super::Response;
use crate::Result;

type Hook = Arc<dyn Fn(Response) -> Result<Response> + Send + Sync>;

/// Hooks in the order in which they were added; each gets what the one before gave back.
#[derive(Clone, Default)]
pub(super) struct Hooks(Vec<Hook>);

impl Hooks {
    pub(super) fn add(&mut self, hook: impl Fn(Response) -> Result<Response> + Send + Sync + 'static) {
        self.0.push(Arc::new(hook));
    }

    pub(super) fn run(&self, response: Response) -> Result<Response> {
        self.0.iter().try_fold(response, |response, hook| hook(response))
    }
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hooks({})", self.0.len())
    }
}
