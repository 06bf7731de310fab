//! RFC 9111, case by case, through a session with `cache_control(true)` and no other setting.

mod freshness;
mod invalidation;
mod parts;
mod passing;
mod requests;
mod script;
mod stale;
mod storing;
mod validation;
mod vary;
