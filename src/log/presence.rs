//! Which keys count as being there. An alias whose target is gone for good does not: it can never lead anywhere again,
//! so a compaction drops it, and nothing that can be observed may depend on whether one has run.

use super::{
    generation::Generation,
    read::{Read, Want},
    shared::Counters,
    view::{Loc, Role},
};
use crate::Result;

/// What the newest record of a key says of its presence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Present {
    pub(super) incarnation: u64,
    /// Of an alias: its target, and the incarnation that it is bound to, 0 for a target that was absent.
    pub(super) bond: Option<(u128, u64)>,
}

impl Present {
    /// Whether a target is what the alias is bound to.
    fn is_bound_to(bond: u64, target: u64) -> bool {
        bond == 0 || bond == target
    }
}

/// The incarnation of a key that is there; `state` says what the newest record of a key is.
///
/// Only bound aliases are followed: one that waits for its target is there, whatever that does. Longer chains than
/// anybody makes, and rings, count as being there, since a write to one of their keys may open them.
pub(super) fn incarnation_of(key: u128, mut state: impl FnMut(u128) -> Result<Option<Present>>) -> Result<Option<u64>> {
    const LINKS_MAX: usize = 64;
    let Some(first) = state(key)? else { return Ok(None) };
    let mut bond = first.bond;
    for _ in 0..LINKS_MAX {
        let Some((target, incarnation)) = bond.filter(|(_, incarnation)| *incarnation != 0) else { break };
        match state(target)? {
            Some(present) if present.incarnation == incarnation => bond = present.bond,
            _ => return Ok(None),
        }
    }
    Ok(Some(first.incarnation))
}

impl Generation {
    /// What the record at a place says of its key's presence. An alias that cannot be verified is not there.
    pub(super) fn present(&self, loc: Loc, counters: &Counters) -> Result<Option<Present>> {
        if loc.role != Role::Alias {
            return Ok(Some(Present { incarnation: loc.incarnation, bond: None }));
        }
        Ok(self.read(loc, None, Want::Head, counters)?.map(|alias| self.present_as(&alias)))
    }

    /// What an alias that was read says of its key's presence.
    pub(super) fn present_as(&self, alias: &Read) -> Present {
        let bond = (self.header.hash(&alias.body), alias.header.raw_len);
        Present { incarnation: alias.loc.incarnation, bond: Some(bond) }
    }

    /// Whether reading a key itself finds something: a value, or an alias whose target is there.
    pub(super) fn is_visible(&self, loc: Loc, counters: &Counters) -> Result<bool> {
        self.present(loc, counters)?.map_or(Ok(false), |own| self.leads_on(own, counters))
    }

    /// Whether reading a key finds something, as far as that depends on other keys.
    pub(super) fn leads_on(&self, own: Present, counters: &Counters) -> Result<bool> {
        let Some((target, bound)) = own.bond else { return Ok(true) };
        let target = incarnation_of(target, |hash| self.present_in_log(hash, counters))?;
        Ok(target.is_some_and(|target| Present::is_bound_to(bound, target)))
    }

    /// What the newest record of a key says of its presence.
    pub(super) fn present_in_log(&self, hash: u128, counters: &Counters) -> Result<Option<Present>> {
        let loc = self.find(hash)?;
        loc.map_or(Ok(None), |loc| self.present(loc, counters))
    }
}
