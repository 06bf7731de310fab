//! Which states a log may be in, when nobody can know which of the unsynced writes a crash has left.

use super::{
    ops::{Op, Outcome},
    state::{Mint, Plan, Rec, Seen, State},
};
use crate::ErrorKind;

/// A batch that was issued and that no sync has settled yet.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Unsettled {
    batch: Vec<Rec>,
    /// Whether processes see it. A write that failed may be in the file all the same, cut off or not.
    visible: bool,
}

/// One account of what has happened.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Account {
    /// What no crash can take away.
    settled: State,
    since: Vec<Unsettled>,
    /// What processes see.
    now: State,
}

impl Account {
    /// A sync has succeeded: all that is visible is on the medium, and what was cut off is gone for good.
    fn settle(&mut self) {
        self.settled.clone_from(&self.now);
        self.since.clear();
    }

    fn write(&mut self, batch: Vec<Rec>, visible: bool) {
        if batch.is_empty() {
            return;
        }
        if visible {
            self.now.apply(&batch);
        }
        self.since.push(Unsettled { batch, visible });
    }

    /// Every state that a crash may leave: any batch that was not settled may be missing, in whole, and nothing else.
    fn after_crash(&self) -> Vec<State> {
        let mut states = vec![self.settled.clone()];
        for unsettled in &self.since {
            for at in 0..states.len() {
                let mut with = states[at].clone();
                with.apply(&unsettled.batch);
                if !states.contains(&with) {
                    states.push(with);
                }
            }
        }
        states
    }
}

/// All accounts that agree with what was seen; mostly one.
#[derive(Debug, Clone)]
pub(super) struct Acceptable {
    accounts: Vec<Account>,
    mint: Mint,
}

/// What an operation came to, and what its success promises.
#[derive(Debug)]
pub(super) struct Event<'a> {
    pub(super) op: &'a Op,
    pub(super) outcome: &'a Outcome,
    /// Whether success means that everything written so far survives a crash.
    pub(super) settles: bool,
    /// Whether it may fail for reasons that the model does not know.
    pub(super) may_fail: bool,
}

impl Acceptable {
    /// An empty log.
    pub(super) fn new() -> Self {
        let (settled, now) = (State::new(), State::new());
        Self { accounts: vec![Account { settled, since: Vec::new(), now }], mint: Mint::default() }
    }

    /// Takes in one operation; an error if no account explains what it returned.
    pub(super) fn record(&mut self, event: &Event<'_>) -> Result<(), String> {
        let mut why = String::new();
        let mut next = Vec::with_capacity(self.accounts.len());
        for account in std::mem::take(&mut self.accounts) {
            match explain(account, event, &mut self.mint) {
                Ok(accounts) => next.extend(accounts),
                Err(error) => why = error,
            }
        }
        self.keep(next, why)
    }

    /// Takes in two operations of which one was interrupted by the other, in either order.
    pub(super) fn record_both(&mut self, outer: &Event<'_>, inner: &Event<'_>) -> Result<(), String> {
        let mut other = self.clone();
        let first = self.record(outer).and_then(|()| self.record(inner));
        other.mint = self.mint.clone();
        let second = other.record(inner).and_then(|()| other.record(outer));
        self.mint = other.mint;
        if first.is_err() {
            self.accounts.clear();
        }
        if second.is_ok() {
            self.accounts.extend(other.accounts);
        }
        let next = std::mem::take(&mut self.accounts);
        let whys = [first, second].map(|result| result.err().unwrap_or_default());
        self.keep(next, whys.join("; or, the other way round: "))
    }

    /// Takes in that a failed sync may have taken any unsynced batch out of the cache.
    pub(super) fn lose_unsynced(&mut self) {
        for account in std::mem::take(&mut self.accounts) {
            for now in account.after_crash() {
                let account = Account { now, ..account.clone() };
                if !self.accounts.contains(&account) {
                    self.accounts.push(account);
                }
            }
        }
    }

    /// Takes in what a handle shows without a crash before.
    pub(super) fn see(&mut self, seen: &Seen) -> Result<(), String> {
        let op = Op::All;
        let outcome = Outcome::Seen(Box::new(seen.clone()));
        self.record(&Event { op: &op, outcome: &outcome, settles: false, may_fail: false })
    }

    /// Takes in what a recovery shows. It is all on the medium from then on, and what it does not show is gone.
    pub(super) fn see_after_crash(&mut self, seen: &Seen) -> Result<(), String> {
        let mut why = String::new();
        let mut next: Vec<Account> = Vec::new();
        for account in std::mem::take(&mut self.accounts) {
            why = format!("settled: {:?}, since: {:?}", account.settled, account.since);
            for state in account.after_crash() {
                if state.check(seen).is_ok() {
                    let now = state.clone();
                    next.push(Account { settled: state, since: Vec::new(), now });
                }
            }
        }
        let show = || format!("no crash can leave this: {seen:?}; {why}");
        if next.is_empty() { Err(show()) } else { self.keep(next, String::new()) }
    }

    fn keep(&mut self, accounts: Vec<Account>, why: String) -> Result<(), String> {
        for account in accounts {
            if !self.accounts.contains(&account) {
                self.accounts.push(account);
            }
        }
        if self.accounts.is_empty() { Err(why) } else { Ok(()) }
    }
}

/// The accounts that follow from one by an operation.
fn explain(mut account: Account, event: &Event<'_>, mint: &mut Mint) -> Result<Vec<Account>, String> {
    let Event { op, outcome, .. } = event;
    match (outcome, account.now.plan(op, mint)) {
        (Outcome::Failed(ErrorKind::Conflict, _), Plan::Conflict) => Ok(vec![account]),
        (Outcome::Failed(kind, why), plan) => {
            if !event.may_fail {
                return Err(format!("{op:?} failed: {kind:?}, {why}"));
            }
            let batch = match plan {
                Plan::Batch(batch) if !batch.is_empty() => batch,
                _ => return Ok(vec![account]),
            };
            // Either it was undone, or it was written and only not confirmed.
            let mut written = account.clone();
            written.write(batch.clone(), true);
            account.write(batch, false);
            Ok(vec![account, written])
        }
        (_, Plan::Conflict) => Err(format!("{op:?} should have met a conflict")),
        (outcome, Plan::Batch(batch)) => {
            account.now.check_outcome(op, outcome)?;
            // Where there was nothing to write there was nothing to sync.
            let synced = matches!(op, Op::Flush | Op::Checkpoint | Op::Tick)
                || matches!(outcome, Outcome::Flag(true))
                || batch.iter().any(|rec| !matches!(rec, Rec::Set(_, None)));
            account.write(batch, true);
            if event.settles && synced {
                account.settle();
            }
            Ok(vec![account])
        }
    }
}
