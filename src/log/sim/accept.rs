//! Which states a log may be in, when nobody can know which of the unsynced writes a crash has left.

use super::{
    ops::{Op, Outcome},
    process::Evictions,
    state::{Mint, Plan, Rec, Seen, State},
};
use crate::{ErrorKind, log::Log};

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

/// One thing that a process did.
#[derive(Debug)]
pub(super) enum Happened<'a> {
    Op(&'a Event<'a>),
    /// It made room: these values had to go, if it is certain that this came to its end.
    Evicted(Vec<usize>, bool),
}

impl<'a> Happened<'a> {
    /// What the process of a handle did in an operation, in order.
    pub(super) fn in_order(log: &Log, event: &'a Event<'a>) -> Vec<Self> {
        let evicted = Evictions::of(log).take();
        // A clear gives space back when it is done, whatever others have written since, and does not say whether it
        // could. All others make room for what they are about to write.
        let clears = *event.op == Op::Clear;
        let certain = !clears && !matches!(event.outcome, Outcome::Failed(..));
        let made_room = (!evicted.is_empty()).then_some(Self::Evicted(evicted, certain));
        let (before, after) = if clears { (None, made_room) } else { (made_room, None) };
        before.into_iter().chain([Self::Op(event)]).chain(after).collect()
    }
}

/// All orders of two lists that keep the order of each.
fn merged<'e, 'a>(one: &'e [Happened<'a>], other: &'e [Happened<'a>]) -> Vec<Vec<&'e Happened<'a>>> {
    let (Some((first, rest)), Some((other_first, other_rest))) = (one.split_first(), other.split_first()) else {
        return vec![one.iter().chain(other).collect()];
    };
    let begin = |first, rest: Vec<Vec<_>>| rest.into_iter().map(move |rest| [vec![first], rest].concat());
    begin(first, merged(rest, other)).chain(begin(other_first, merged(one, other_rest))).collect()
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

    /// Takes in what two processes did, of which one was interrupted by the other, in any order that keeps theirs.
    pub(super) fn record_both(&mut self, outer: &[Happened<'_>], inner: &[Happened<'_>]) -> Result<(), String> {
        let before = std::mem::take(&mut self.accounts);
        let (mut next, mut whys) = (Vec::new(), Vec::new());
        for order in merged(outer, inner) {
            let mut one = Self { accounts: before.clone(), mint: self.mint.clone() };
            match order.into_iter().try_for_each(|happened| one.take_in(happened)) {
                Ok(()) => next.append(&mut one.accounts),
                Err(why) => whys.push(why),
            }
            self.mint = one.mint;
        }
        self.keep(next, whys.join("; or, the other way round: "))
    }

    fn take_in(&mut self, happened: &Happened<'_>) -> Result<(), String> {
        match happened {
            Happened::Op(event) => self.record(event),
            Happened::Evicted(keys, certain) => self.evict(keys, *certain),
        }
    }

    /// Takes in what a process has dropped when it ended, which it does not tell of.
    pub(super) fn end(&mut self, evictions: &Evictions) -> Result<(), String> {
        let evicted = evictions.take();
        if evicted.is_empty() { Ok(()) } else { self.evict(&evicted, false) }
    }

    /// Takes in that values had to go; what a compaction has done is on the medium, if it is certain that it was done.
    fn evict(&mut self, keys: &[usize], certain: bool) -> Result<(), String> {
        let mut next = Vec::with_capacity(self.accounts.len());
        for mut account in std::mem::take(&mut self.accounts) {
            if !keys.iter().all(|at| account.now.may_be_evicted(*at)) {
                continue;
            }
            let gone: Vec<_> =
                keys.iter().filter(|at| account.now.is_value(**at)).map(|at| Rec::Set(*at, None)).collect();
            if !certain {
                let mut undone = account.clone();
                undone.write(gone.clone(), false);
                next.push(undone);
            }
            account.write(gone, true);
            if certain {
                account.settle();
            }
            next.push(account);
        }
        self.keep(next, format!("not all of {keys:?}, which had to go, are values"))
    }

    /// The bytes of the bookkeeping, at most.
    pub(super) fn books(&self) -> u64 {
        self.accounts.iter().map(|account| account.now.books()).max().unwrap_or(0)
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
