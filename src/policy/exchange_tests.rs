//! The decisions, case by case.

use super::*;
use crate::entry::{StoredRequest, StoredResponse};
use http::{HeaderName, HeaderValue, StatusCode};
use std::time::UNIX_EPOCH;

const T0: SystemTime = UNIX_EPOCH;

type Lines = &'static [(&'static str, &'static str)];

fn at(seconds: u64) -> SystemTime {
    T0 + Duration::from_secs(seconds)
}

fn headers(lines: Lines) -> HeaderMap {
    lines.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
}

fn by_rfc() -> Rules {
    Rules { cache_control: true, ..Rules::default() }
}

fn offline() -> Rules {
    Rules { mode: Mode::Offline, ..Rules::default() }
}

fn first(rules: &Rules, wish: Wish, method: &str, request: Lines) -> First {
    Exchange::new(rules, wish, method, "http://x.org/", &headers(request)).first()
}

fn keep(rules: &Rules, wish: Wish, request: Lines, status: u16, response: Lines) -> Keep {
    let (request, facts) = (headers(request), Facts::of(&headers(response)));
    Exchange::new(rules, wish, "GET", "http://x.org/", &request).after_send(status, &facts, at(100), Duration::ZERO)
}

/// What becomes, at second `now`, of a 200 with these headers that was stored at second 100 and expires by what is
/// said.
fn next(rules: &Rules, wish: Wish, request: Lines, response: Lines, expires: Option<u64>, now: u64) -> Next {
    judge(rules, wish, request, response, expires, false, |exchange, held| exchange.after_lookup(Some(held), at(now)))
}

fn judge<T>(
    rules: &Rules,
    wish: Wish,
    request: Lines,
    response: Lines,
    expires: Option<u64>,
    invalid: bool,
    judge: impl FnOnce(&Exchange<'_>, &Held<'_>) -> T,
) -> T {
    let (request, response) = (headers(request), headers(response));
    let asked = StoredRequest::new("GET", "http://x.org/", &HeaderMap::new(), b"").unwrap();
    let facts = Facts::of(&response);
    let stored = StoredResponse::new(asked, StatusCode::OK, response, "", at(100)).with_expires(expires.map(at));
    let held = Held { response: &stored, facts: &facts, invalid };
    judge(&Exchange::new(rules, wish, "GET", "http://x.org/", &request), &held)
}

const REFRESH: Wish = Wish { expire: None, refresh: Refresh::Validate, only_if_cached: false, disabled: false };
const FORCE: Wish = Wish { expire: None, refresh: Refresh::Force, only_if_cached: false, disabled: false };
const CACHED: Wish = Wish { expire: None, refresh: Refresh::No, only_if_cached: true, disabled: false };
const DISABLED: Wish = Wish { expire: None, refresh: Refresh::No, only_if_cached: false, disabled: true };
const PLAIN: Wish = Wish { expire: None, refresh: Refresh::No, only_if_cached: false, disabled: false };

fn expiring(expire: Expire) -> Wish {
    Wish { expire: Some(expire), ..PLAIN }
}

#[test]
fn the_first_step_follows_from_mode_method_and_wish() {
    use First::{LookUp, Refuse, Send};
    let (cache, offline, rfc) = (Rules::default(), offline(), by_rfc());
    let posts = Rules { methods: Some(BTreeSet::from(["POST".to_owned()])), ..by_rfc() };
    for (rules, wish, method, request, want) in [
        (&cache, PLAIN, "GET", &[][..], LookUp),
        (&cache, PLAIN, "HEAD", &[], Send(Forward::Method)),
        (&cache, PLAIN, "POST", &[], Send(Forward::Method)),
        (&cache, FORCE, "GET", &[], LookUp),
        (&cache, DISABLED, "GET", &[], Send(Forward::Bypass)),
        (&cache, expiring(Expire::DoNotCache), "GET", &[], Send(Forward::Bypass)),
        (&cache, PLAIN, "GET", &[("cache-control", "no-store")], Send(Forward::Bypass)),
        (&cache, PLAIN, "GET", &[("if-none-match", "x")], Send(Forward::Bypass)),
        (&cache, PLAIN, "GET", &[("range", "bytes=0-1")], Send(Forward::Bypass)),
        (&cache, CACHED, "GET", &[], LookUp),
        (&cache, CACHED, "POST", &[], Refuse),
        (&cache, PLAIN, "POST", &[("cache-control", "only-if-cached")], Refuse),
        (&rfc, PLAIN, "GET", &[], LookUp),
        (&rfc, PLAIN, "HEAD", &[], LookUp),
        (&rfc, PLAIN, "POST", &[], Send(Forward::Method)),
        (&rfc, PLAIN, "GET", &[("if-none-match", "x")], LookUp),
        (&rfc, PLAIN, "GET", &[("range", "bytes=0-1")], LookUp),
        (&rfc, PLAIN, "GET", &[("if-match", "x")], Send(Forward::Bypass)),
        (&rfc, PLAIN, "GET", &[("if-unmodified-since", "x")], Send(Forward::Bypass)),
        (&posts, PLAIN, "POST", &[], LookUp),
        (&posts, PLAIN, "GET", &[], Send(Forward::Method)),
        (&offline, PLAIN, "GET", &[], LookUp),
        (&offline, PLAIN, "POST", &[], LookUp),
        (&offline, FORCE, "GET", &[], LookUp),
        (&offline, DISABLED, "GET", &[], Refuse),
    ] {
        assert_eq!(first(rules, wish, method, request), want, "{:?} {wish:?} {method} {request:?}", rules.mode);
    }
}

#[test]
fn what_is_found_is_served_until_it_expires_and_offline_for_ever() {
    let (cache, offline) = (Rules::default(), offline());
    let (fresh, stale) = (Next::Serve(Reuse::Fresh), Next::Send(Forward::Stale));
    for (rules, expires, now, want) in [
        (&cache, None, 9999, fresh),
        (&cache, Some(101), 100, fresh),
        (&cache, Some(101), 101, stale),
        (&offline, None, 9999, Next::Serve(Reuse::Offline)),
        (&offline, Some(101), 101, Next::Serve(Reuse::Offline)),
    ] {
        assert_eq!(next(rules, PLAIN, &[], &[], expires, now), want, "{:?} {expires:?} {now}", rules.mode);
    }
    for (rules, wish, request, want) in [
        (&cache, PLAIN, &[][..], Next::Send(Forward::UriMiss)),
        (&cache, CACHED, &[], Next::Refuse),
        (&cache, PLAIN, &[("cache-control", "only-if-cached")], Next::Refuse),
        (&offline, PLAIN, &[], Next::Refuse),
    ] {
        let request = headers(request);
        let exchange = Exchange::new(rules, wish, "GET", "http://x.org/", &request);
        assert_eq!(exchange.after_lookup(None, T0), want, "{wish:?} {request:?}");
    }
}

#[test]
fn what_has_a_validator_is_validated() {
    let cache = Rules::default();
    let always = Rules { always_revalidate: true, ..Rules::default() };
    let tag: Lines = &[("etag", "\"1\"")];
    for (rules, wish, response, expires, want) in [
        (&cache, PLAIN, tag, Some(101), Next::Validate(Forward::Stale)),
        (&cache, PLAIN, &[("last-modified", "x")], Some(101), Next::Validate(Forward::Stale)),
        (&cache, REFRESH, tag, None, Next::Validate(Forward::Request)),
        (&cache, REFRESH, &[], None, Next::Send(Forward::Request)),
        (&cache, FORCE, tag, None, Next::Send(Forward::Request)),
        (&cache, CACHED, tag, Some(101), Next::Refuse),
        (&always, PLAIN, tag, None, Next::Validate(Forward::Request)),
        (&always, PLAIN, &[], None, Next::Serve(Reuse::Fresh)),
    ] {
        assert_eq!(next(rules, wish, &[], response, expires, 200), want, "{wish:?} {response:?} {expires:?}");
    }
}

#[test]
fn a_request_can_ask_for_more_and_for_less_freshness() {
    let (fresh, ask) = (Next::Serve(Reuse::Fresh), Next::Validate(Forward::Request));
    let (stale, old) = (Next::Serve(Reuse::MaxStale), Next::Validate(Forward::Stale));
    // Stored at 100, fresh for 60 seconds.
    for (control, now, want) in [
        ("max-age=20", 120, fresh),
        ("max-age=20", 121, ask),
        ("max-age=0", 100, ask),
        ("max-age=x", 100, ask),
        ("min-fresh=40", 120, fresh),
        ("min-fresh=41", 120, ask),
        ("min-fresh=x", 120, ask),
        ("no-cache", 100, ask),
        ("max-stale", 1000, stale),
        ("max-stale=10", 170, stale),
        ("max-stale=10", 171, old),
        ("max-stale=x", 170, old),
        ("max-stale, max-age=20", 170, old),
        ("max-stale, no-cache", 170, old),
        ("unknown", 120, fresh),
        ("only-if-cached", 120, fresh),
        ("only-if-cached", 170, Next::Refuse),
        ("only-if-cached, max-stale", 170, stale),
        ("only-if-cached, no-cache", 120, Next::Refuse),
    ] {
        let request: Lines = Box::leak(Box::new([("cache-control", control)]));
        let response: Lines = &[("cache-control", "max-age=60"), ("etag", "\"1\"")];
        for rules in [&by_rfc(), &Rules::default()] {
            let next = next(rules, PLAIN, request, response, Some(160), now);
            assert_eq!(next, want, "{control} {now} {}", rules.cache_control);
        }
    }
    assert_eq!(next(&by_rfc(), PLAIN, &[("pragma", "no-cache")], &[("etag", "x")], Some(160), 100), ask);
}

#[test]
fn a_response_can_forbid_what_a_request_allows() {
    let rfc = by_rfc();
    let shared = Rules { shared: true, ..by_rfc() };
    let (stale, ask) = (Next::Serve(Reuse::MaxStale), Next::Send(Forward::Stale));
    for (rules, control, want) in [
        (&rfc, "max-age=60", stale),
        (&rfc, "max-age=60, must-revalidate", ask),
        (&rfc, "max-age=60, no-cache", ask),
        (&rfc, "max-age=60, no-cache=\"x\"", stale),
        (&rfc, "max-age=60, proxy-revalidate", stale),
        (&rfc, "max-age=60, s-maxage=60", stale),
        (&shared, "max-age=60", stale),
        (&shared, "max-age=60, proxy-revalidate", ask),
        (&shared, "max-age=60, s-maxage=60", ask),
    ] {
        let response: Lines = Box::leak(Box::new([("cache-control", control)]));
        assert_eq!(next(rules, PLAIN, &[("cache-control", "max-stale")], response, Some(160), 170), want, "{control}");
    }
    let no_cache: Lines = &[("cache-control", "max-age=60, no-cache"), ("etag", "\"1\"")];
    assert_eq!(next(&rfc, PLAIN, &[], no_cache, Some(160), 101), Next::Validate(Forward::Stale));
    assert_eq!(next(&Rules::default(), PLAIN, &[], no_cache, Some(160), 101), Next::Serve(Reuse::Fresh));
}

#[test]
fn what_was_made_invalid_is_not_served_unasked() {
    let rfc = Rules { stale_if_error: Staleness::Any, stale_while_revalidate: Staleness::Any, ..by_rfc() };
    for request in [&[][..], &[("cache-control", "max-stale")]] {
        let next = judge(&rfc, PLAIN, request, &[("etag", "x")], None, true, |exchange, held| {
            assert!(!exchange.on_failure(held, Failure::Silence, at(100)));
            exchange.after_lookup(Some(held), at(100))
        });
        assert!(matches!(next, Next::Validate(_)), "{next:?}");
    }
}

#[test]
fn always_revalidate_leaves_what_is_immutable_while_it_is_fresh() {
    let rules = Rules { always_revalidate: true, ..by_rfc() };
    let response: Lines = &[("cache-control", "max-age=60, immutable"), ("etag", "x")];
    assert_eq!(next(&rules, PLAIN, &[], response, Some(160), 101), Next::Serve(Reuse::Fresh));
    assert_eq!(next(&rules, PLAIN, &[], response, Some(160), 161), Next::Validate(Forward::Stale));
    assert_eq!(next(&rules, REFRESH, &[], response, Some(160), 101), Next::Validate(Forward::Request));
}

#[test]
fn stale_while_revalidate_serves_within_its_window() {
    let set = |staleness| Rules { stale_while_revalidate: staleness, ..Rules::default() };
    let ten = Staleness::UpTo(Duration::from_secs(10));
    let window: Lines = &[("cache-control", "max-age=60, stale-while-revalidate=10")];
    let strict: Lines = &[("cache-control", "max-age=60, stale-while-revalidate=10, must-revalidate")];
    for (rules, response, now, want) in [
        (by_rfc(), window, 159, Next::Serve(Reuse::Fresh)),
        (by_rfc(), window, 170, Next::ServeAndRefresh),
        (by_rfc(), window, 171, Next::Send(Forward::Stale)),
        (by_rfc(), strict, 161, Next::Send(Forward::Stale)),
        (Rules::default(), window, 161, Next::Send(Forward::Stale)),
        (set(ten), &[], 170, Next::ServeAndRefresh),
        (set(ten), &[], 171, Next::Send(Forward::Stale)),
        (set(Staleness::Any), &[], 9999, Next::ServeAndRefresh),
        (set(Staleness::No), &[], 161, Next::Send(Forward::Stale)),
    ] {
        assert_eq!(next(&rules, PLAIN, &[], response, Some(160), now), want, "{response:?} {now}");
    }
    assert_eq!(next(&set(Staleness::Any), REFRESH, &[], &[], Some(160), 161), Next::Send(Forward::Stale));
}

#[test]
fn stale_if_error_serves_within_its_window() {
    let set = |cache_control| Rules { cache_control, stale_if_error: Staleness::Any, ..Rules::default() };
    let window: Lines = &[("cache-control", "max-age=60, stale-if-error=10")];
    let strict: Lines = &[("cache-control", "max-age=60, stale-if-error=10, must-revalidate")];
    let asks: Lines = &[("cache-control", "stale-if-error=10")];
    let silence = Failure::Silence;
    for (rules, request, response, failure, now, want) in [
        (by_rfc(), &[][..], window, silence, 170, true),
        (by_rfc(), &[], window, silence, 171, false),
        (by_rfc(), &[], window, Failure::Status(503), 170, true),
        (by_rfc(), &[], window, Failure::Status(501), 170, false),
        (by_rfc(), &[], window, Failure::Status(404), 170, false),
        (by_rfc(), &[], strict, silence, 161, false),
        (by_rfc(), &[], &[], silence, 161, false),
        (by_rfc(), asks, &[], silence, 170, true),
        (by_rfc(), asks, &[], silence, 171, false),
        (by_rfc(), asks, strict, silence, 161, false),
        (Rules::default(), asks, &[], Failure::Status(500), 170, true),
        (Rules::default(), &[], window, silence, 161, false),
        (set(true), &[], &[], Failure::Status(500), 9999, true),
        (set(true), &[], &[], Failure::Status(404), 9999, false),
        (set(true), &[("cache-control", "no-cache")], &[], silence, 161, false),
        (set(false), &[], &[], silence, 9999, true),
        (set(false), &[], &[], Failure::Status(404), 9999, true),
        (set(false), &[], &[], Failure::Status(200), 9999, false),
        (set(false), &[], &[], Failure::Status(302), 9999, false),
    ] {
        let serves = judge(&rules, PLAIN, request, response, Some(160), false, |exchange, held| {
            exchange.on_failure(held, failure, at(now))
        });
        assert_eq!(serves, want, "{request:?} {response:?} {failure:?} {now}");
    }
    assert_eq!(next(&set(false), CACHED, &[], &[], Some(160), 170), Next::Serve(Reuse::IfError));
}

#[test]
fn an_answer_is_stored_if_code_method_mode_and_wish_allow_it() {
    let (cache, offline) = (Rules::default(), offline());
    let minute = Expire::After(Duration::from_secs(60));
    let until = Keep::Store(Some(at(160)));
    for (rules, wish, request, status, response, want) in [
        (&cache, PLAIN, &[][..], 200, &[][..], Keep::Store(None)),
        (&cache, PLAIN, &[], 404, &[], Keep::Pass),
        (&cache, PLAIN, &[], 302, &[], Keep::Pass),
        (&cache, PLAIN, &[], 200, &[("cache-control", "no-store")], Keep::Store(None)),
        (&cache, PLAIN, &[], 200, &[("vary", "*")], Keep::Pass),
        (&cache, expiring(minute), &[], 200, &[], until),
        (&cache, FORCE, &[], 200, &[], Keep::Store(None)),
        (&cache, DISABLED, &[], 200, &[], Keep::Pass),
        (&cache, expiring(Expire::DoNotCache), &[], 200, &[], Keep::Pass),
        (&cache, expiring(Expire::Immediately), &[], 200, &[], Keep::Pass),
        (&cache, expiring(Expire::Immediately), &[], 200, &[("etag", "x")], Keep::Store(Some(at(100)))),
        (&cache, expiring(Expire::Immediately), &[], 200, &[("last-modified", "x")], Keep::Store(Some(at(100)))),
        (&cache, PLAIN, &[("cache-control", "max-age=60")], 200, &[], until),
        (&cache, expiring(minute), &[("cache-control", "max-age=5")], 200, &[], until),
        (&cache, PLAIN, &[("cache-control", "no-store")], 200, &[], Keep::Pass),
        (&offline, PLAIN, &[], 200, &[], Keep::Pass),
    ] {
        let keep = keep(rules, wish, request, status, response);
        assert_eq!(keep, want, "{:?} {wish:?} {request:?} {status} {response:?}", rules.mode);
    }
}

#[test]
fn by_the_rfc_the_response_decides_and_settings_serve_where_it_is_silent() {
    let rfc = by_rfc();
    let minute = Rules { expire: Some(Expire::After(Duration::from_secs(60))), ..by_rfc() };
    let never = Rules { expire: Some(Expire::Never), ..by_rfc() };
    let codes = Rules { codes: Some(BTreeSet::from([500])), ..minute.clone() };
    let store = |seconds| Keep::Store(Some(at(seconds)));
    for (rules, status, response, want) in [
        (&rfc, 200, &[("cache-control", "max-age=5")][..], store(105)),
        (&rfc, 200, &[("cache-control", "max-age=5"), ("age", "3")], store(102)),
        (&rfc, 200, &[("cache-control", "max-age=5"), ("age", "5")], Keep::Pass),
        (&rfc, 200, &[("cache-control", "max-age=5"), ("age", "5"), ("etag", "x")], store(100)),
        (&rfc, 200, &[("cache-control", "no-store, max-age=5")], Keep::Pass),
        (&rfc, 200, &[("cache-control", "no-cache, max-age=5")], Keep::Pass),
        (&rfc, 200, &[("cache-control", "no-cache, max-age=5"), ("etag", "x")], store(105)),
        (&rfc, 200, &[("etag", "x")], store(100)),
        (&rfc, 200, &[], Keep::Pass),
        (&rfc, 500, &[("etag", "x")], Keep::Pass),
        (&rfc, 500, &[("cache-control", "max-age=5")], store(105)),
        (&rfc, 206, &[("cache-control", "max-age=5")], Keep::Pass),
        (&rfc, 200, &[("cache-control", "max-age=5"), ("vary", "*")], Keep::Pass),
        (&rfc, 200, &[("cache-control", "max-age=0, stale-if-error=5")], store(100)),
        (&minute, 200, &[], store(160)),
        (&minute, 200, &[("cache-control", "max-age=5")], store(105)),
        (&minute, 500, &[], Keep::Pass),
        (&never, 200, &[], Keep::Store(None)),
        (&never, 200, &[("cache-control", "max-age=5")], store(105)),
        (&codes, 500, &[], store(160)),
        (&codes, 200, &[], Keep::Pass),
        (&codes, 200, &[("cache-control", "max-age=5")], store(105)),
    ] {
        assert_eq!(keep(rules, PLAIN, &[], status, response), want, "{status} {response:?}");
    }
}

#[test]
fn what_was_stored_for_ever_is_judged_by_its_headers_once_the_rfc_counts() {
    let rfc = by_rfc();
    let age: Lines = &[("cache-control", "max-age=60")];
    for (rules, response, expires, now, fresh) in [
        (&rfc, age, None, 159, true),
        (&rfc, age, None, 160, false),
        (&rfc, &[], None, 100, false),
        (&rfc, age, Some(999), 200, true),
        (&Rules { expire: Some(Expire::Never), ..by_rfc() }, &[], None, 9999, true),
    ] {
        let next = next(rules, PLAIN, &[], response, expires, now);
        assert_eq!(next == Next::Serve(Reuse::Fresh), fresh, "{response:?} {expires:?} {now}");
    }
}

#[test]
fn a_redirect_is_stored_whatever_the_allowed_codes() {
    let none = HeaderMap::new();
    let keep = |rules: &Rules, method: &str, status, response: Lines| {
        let facts = Facts::of(&headers(response));
        Exchange::new(rules, PLAIN, method, "http://x.org/", &none).after_redirect(
            status,
            &facts,
            at(100),
            Duration::ZERO,
        )
    };
    assert_eq!(keep(&Rules::default(), "GET", 302, &[]), Keep::Store(None));
    assert_eq!(keep(&Rules::default(), "POST", 302, &[]), Keep::Pass);
    assert_eq!(keep(&by_rfc(), "GET", 302, &[("etag", "x")]), Keep::Pass);
    assert_eq!(keep(&by_rfc(), "GET", 302, &[("cache-control", "max-age=5")]), Keep::Store(Some(at(105))));
    let minute = Rules { expire: Some(Expire::After(Duration::from_secs(60))), ..by_rfc() };
    assert_eq!(keep(&minute, "GET", 302, &[]), Keep::Store(Some(at(160))));
}

#[test]
fn urls_have_their_own_expiry_and_requests_go_before() {
    let mut rules = Rules { expire: Some(Expire::Never), ..Rules::default() };
    rules.urls.push("x.org", Expire::After(Duration::from_secs(5))).unwrap();
    assert_eq!(keep(&rules, PLAIN, &[], 200, &[]), Keep::Store(Some(at(105))));
    let minute = expiring(Expire::After(Duration::from_secs(60)));
    assert_eq!(keep(&rules, minute, &[], 200, &[]), Keep::Store(Some(at(160))));
    let mut rules = Rules::default();
    rules.urls.push("*", Expire::DoNotCache).unwrap();
    assert_eq!(first(&rules, PLAIN, "GET", &[]), First::Send(Forward::Bypass));
}
