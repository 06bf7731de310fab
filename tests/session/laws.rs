//! What the tests of requests-cache check of every backend of its own, and no other file here has.
//!
//! All that they check, by number, and the tests that hold us to it; `lib` are those beside the code, `contract` those of
//! dicts and stores, which third parties can run too.
//!
//! | | behaviour | tests |
//! |---|---|---|
//! | 1 | storages of one store do not mix | `clearing_keeps_other_caches_of_the_same_server`; contract `dicts::do_not_mix` |
//! | 2 | listings agree | `laws_storage::keys_heads_responses_and_urls_agree` |
//! | 3 | values tell their keys | `laws_storage::each_value_tells_the_key_that_it_is_found_under` |
//! | 4 | 20 - 5 = 15 | `laws_storage::of_twenty_without_five_exactly_fifteen_are_left` |
//! | 5, 6 | deleting many | `laws_storage::deleting_many_ignores_what_is_missing_and_nothing_deletes_nothing` |
//! | 7 | a missing key | `deleting_what_is_absent_touches_nothing_else`: `false` or `None` where Python has an error |
//! | 8, 12 | clearing and emptiness | `laws_storage::an_empty_cache_can_be_cleared_and_is_usable_again` |
//! | 9 | two handles | `two_sessions_see_each_others_writes` |
//! | 10 | overwriting | `laws_storage::what_is_overwritten_is_there_once` |
//! | 11 | a key again | `a_key_is_usable_again_after_its_deletion` |
//! | 13, 29 | concurrent writers | `a_hundred_saves_at_once_lose_nothing`, `caching::many_threads_share_one_session`; contract; processes: torture |
//! | 14 | methods and bodies | `every_method_and_body_is_an_answer_of_its_own` |
//! | 15 | formats | `every_format_comes_back_byte_for_byte`, `bodies::any_charset_and_binary_survives` |
//! | 16 | one read for a request | `laws_storage::a_hit_reads_the_store_once`, over a store that counts |
//! | 17 | redirect chains | `chains_of_one_to_four_hops_leave_as_many_aliases` |
//! | 18 | a stored 302 tells what is next | `redirects::without_following_the_redirect_itself_is_the_answer`, by its `Location` |
//! | 19 | cookies of a hit | `cookies_that_a_response_sets_are_readable_on_a_hit` |
//! | 20 | whose max-age | `laws_policy::max_age_of_request_and_response_and_whose_counts` |
//! | 21 | validators | `laws_policy::what_has_expired_is_asked_about_with_the_validators_that_it_has` |
//! | 22 | ways to ask first | `laws_policy::each_way_to_say_ask_first_makes_the_cache_ask` |
//! | 23 | a new max-age in a 304 | `laws_policy::a_confirmation_with_a_new_max_age_makes_it_fresh_again` |
//! | 24 | gzip once | `bodies::gzip_and_deflate_are_undone_once_and_the_headers_stay` |
//! | 25 | roots of JSON | `roots_of_json_of_every_type_come_back` |
//! | 26 | the same upload | `sent_bodies::forms_with_files_arrive_and_are_the_same_whatever_their_boundary` |
//! | 27 | removing the expired | `removing_the_expired_keeps_the_rest_and_its_redirects` |
//! | 28 | redaction | `credentials_are_redacted_in_what_is_stored`; `credentials` |
//! | 30 | attributes | `miss_and_hit_have_the_same_attributes` |
//! | 31 | spellings of a URL | `the_order_of_parameters_and_of_form_fields_does_not_count`, `caching::spellings_of_one_url_are_one_answer`; lib `policy::normalize` |
//! | 32 | parameters of any mapping | `requests::what_is_given_by_reference_or_by_value_arrives_alike`, `parameters` |
//! | 33 | bodies that are no JSON, forms | `laws_storage::bodies_that_are_no_json_are_taken_as_they_are`, `laws_storage::fields_of_a_form_count_in_any_order` |
//! | 34 | bodies read from elsewhere | `sent_bodies::a_body_is_part_of_the_key_in_its_normal_form_and_read_once` |
//! | 35 | verified or not | tls `a_verified_and_an_unverified_answer_never_share_an_entry`; interop |
//! | 36 | headers to match | `policy::chosen_headers_are_part_of_the_key`; "all of them" is no setting here |
//! | 37 | Vary | `policy::variants_are_kept_apart_without_cache_control`, `policy::what_varies_by_an_ignored_header_is_not_stored`, `laws_policy::variants_come_back_whatever_is_asked_in_between`, `laws_policy::a_variant_behind_redirects_is_that_of_the_last_request`, `laws_policy::what_varies_by_cookies_is_told_apart_by_them`; interop `variants` |
//! | 38 | codes and methods | `laws_policy::codes_count_when_storing_and_methods_when_reading_too`; headers that name another method are headers like others here |
//! | 39 | filters | `settings::a_filter_decides_what_is_stored_and_served`, `policy::a_filter_also_refuses_what_is_stored` |
//! | 40 | key functions | `settings::a_key_function_decides_what_is_the_same` |
//! | 41 | hooks | `settings::the_response_hook_sees_misses_and_hits`, `hooks` |
//! | 42 | expiring at once | `laws_policy::what_expires_at_once_is_stored_with_a_validator_alone` |
//! | 43 | DO_NOT_CACHE | `caching::do_not_cache_neither_reads_nor_stores` |
//! | 44 | URL patterns | `policy::urls_have_their_own_expiry` |
//! | 45 | wrong times | a session takes types, not texts; of the program: cli `a_mistake_in_the_settings_is_named` |
//! | 46 | stale_if_error | `policy::stale_if_error_serves_what_has_expired`, `laws_policy::old_answers_help_against_errors_as_long_as_is_said`, `laws_policy::an_error_instead_of_a_confirmation_gives_the_old_answer` |
//! | 47 | without it | `laws_policy::an_expired_answer_is_no_help_against_errors_unless_asked_for` |
//! | 48 | stale_while_revalidate | `policy::stale_while_revalidate_serves_at_once`, `laws_policy::a_refresh_in_the_background_is_one_and_ends` |
//! | 49 | only_if_cached | `laws_policy::only_if_cached_takes_what_is_stored_and_asks_nobody`; asked for by a method, a miss is an error, by a header it is a 504 |
//! | 50 | refresh | `laws_policy::refresh_without_a_validator_fetches_again`, `laws_policy::a_prepared_request_asks_for_the_same`, `policy::refresh_asks_whether_it_still_holds`; without a validator Python gives the old one |
//! | 51 | what a confirmation writes | `policy::a_confirmation_that_changes_nothing_writes_nothing`, `laws_policy::a_confirmation_that_changes_headers_is_written` |
//! | 52 | read_only | `a_read_only_session_stores_nothing`, `policy::what_is_read_only_confirms_without_writing` |
//! | 53 | cache_disabled | `disabled` |
//! | 54 | what cannot be decoded | `failing::an_entry_that_cannot_be_decoded_is_a_miss_and_is_healed`; contract `damaged` in every store |
//! | 55 | contains | `laws_storage::a_stored_response_is_asked_for_by_key_url_and_request` |
//! | 56 | delete | `caching::what_is_deleted_by_url_is_fetched_again`, `laws_storage::old_responses_and_those_of_some_requests_can_be_deleted` |
//! | 57 | recreate_keys | not here: keys are frozen, and `Cache::update` makes those of another scheme |
//! | 58 | reset_expiration | `expiration_can_be_reset_to_longer_and_shorter` |
//! | 59 | update and urls | `laws_storage::responses_are_copied_from_one_place_to_another_and_back`; cli `copying` |
//! | 60 | files of earlier versions | lib `log::vectors`, and `entry` for heads; those of Python: cli `pickles_of_python_are_read_and_what_would_run_code_is_refused_by_name` |
//! | 61 | of SQLite alone | contract `dicts::tables`; "sorted by" is cli `ls_lists_sorts_and_limits` |
//! | 62 | a limit of the size | `limit`; lib `log::limits`; of the log alone |
//! | 63 | autoclose | not here: what is dropped is closed |
//! | 64 | the installed cache | `global`; there are no subclasses to be made of it |
//! | 65 | streams | `streams`, `streaming`; a hit is read anew rather than rewound |

use std::{
    thread,
    time::{Duration, SystemTime},
};

use larder::{CachedSession, ErrorKind, Mode, Response};

use crate::{
    Place, over_all_backends,
    support::{Origin, Reply},
};

over_all_backends!(
    every_method_and_body_is_an_answer_of_its_own,
    every_format_comes_back_byte_for_byte,
    roots_of_json_of_every_type_come_back,
    miss_and_hit_have_the_same_attributes,
    cookies_that_a_response_sets_are_readable_on_a_hit,
    the_order_of_parameters_and_of_form_fields_does_not_count,
    chains_of_one_to_four_hops_leave_as_many_aliases,
    two_sessions_see_each_others_writes,
    a_key_is_usable_again_after_its_deletion,
    an_alias_leads_to_what_takes_the_place_of_its_target,
    deleting_a_response_takes_its_aliases_along,
    deleting_what_is_absent_touches_nothing_else,
    removing_the_expired_keeps_the_rest_and_its_redirects,
    expiration_can_be_reset_to_longer_and_shorter,
    a_read_only_session_stores_nothing,
    what_was_recorded_is_replayed_offline,
    a_hundred_saves_at_once_lose_nothing,
    clearing_keeps_other_caches_of_the_same_server,
    credentials_are_redacted_in_what_is_stored,
    a_body_of_20_mib_is_a_hit,
    settings_name_the_backend,
);

fn get(session: &CachedSession, origin: &Origin, path: &str) -> Response {
    session.get(origin.url(path)).send().unwrap()
}

/// Where only clones share what is stored, a clone.
fn another(place: &Place, session: &CachedSession) -> CachedSession {
    if place.is_in_memory() { session.clone() } else { place.session() }
}

fn every_method_and_body_is_an_answer_of_its_own(place: &Place) {
    let origin = Origin::start();
    origin.handle("/a", |seen| Reply::ok(format!("{} {} {:?}", seen.method, seen.target, seen.body)));
    let methods = ["GET", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"];
    let session = place.builder().allowable_methods(methods).build().unwrap();
    let mut bodies = Vec::new();
    for method in methods {
        let request = || session.request(method, origin.url("/a"));
        let kinds = [
            request(),
            request().query("field", "1"),
            request().query("field", "2"),
            request().json(serde_json::json!({"field": 1})),
            request().json(serde_json::json!({"field": 2})),
            request().form([("field", "1")]),
            request().form([("field", "2")]),
        ];
        for request in kinds {
            let miss = request.send().unwrap();
            assert!(!miss.from_cache(), "{method}");
            bodies.push(miss.text().unwrap());
        }
        let hit = request().json(serde_json::json!({"field": 2})).send().unwrap();
        assert!(hit.from_cache() && hit.text().unwrap() == bodies[bodies.len() - 3]);
    }
    bodies.sort();
    bodies.dedup();
    assert_eq!(bodies.len(), 7 * methods.len());
    assert_eq!(session.cache().len().unwrap(), bodies.len() as u64);
}

fn every_format_comes_back_byte_for_byte(place: &Place) {
    let origin = Origin::start();
    let formats: [(&str, &str, Vec<u8>); 6] = [
        ("/json", "application/json", b"{ \"a\": 1,  \"b\": [1,2] }\n".to_vec()),
        ("/html", "text/html; charset=utf-8", "<p>é \u{1F980}</p>".into()),
        ("/latin", "text/plain; charset=latin1", vec![0xe9, 0xe8]),
        ("/png", "image/png", (0..=255).cycle().take(70_000).collect()),
        ("/xml", "application/xml", b"<?xml version=\"1.0\"?><a/>".to_vec()),
        ("/empty", "text/plain", Vec::new()),
    ];
    let session = place.session();
    for (path, kind, body) in formats {
        origin.route(path, Reply::ok(body.clone()).header("Content-Type", kind));
        let (miss, hit) = (get(&session, &origin, path), get(&session, &origin, path));
        assert_eq!((miss.from_cache(), hit.from_cache()), (false, true), "{path}");
        assert!(miss.bytes() == &body[..] && hit.bytes() == &body[..], "{path}");
        assert_eq!(hit.headers().get("content-type").unwrap(), kind);
    }
}

fn roots_of_json_of_every_type_come_back(place: &Place) {
    let origin = Origin::start();
    let session = place.session();
    for (n, root) in ["\"text\"", "1.5", "true", "null", "\"\"", "[]", "{}"].into_iter().enumerate() {
        let path = format!("/{n}");
        origin.route(&path, Reply::ok(root));
        for from_cache in [false, true] {
            let response = get(&session, &origin, &path);
            assert_eq!(response.from_cache(), from_cache);
            assert_eq!(response.json::<serde_json::Value>().unwrap().to_string(), root);
        }
    }
}

fn miss_and_hit_have_the_same_attributes(place: &Place) {
    let origin = Origin::start();
    origin.route("/a", Reply::ok("x").header("X-Twice", "1").header("X-Twice", "2"));
    let session = place.builder().expire_after(Duration::from_secs(3600)).build().unwrap();
    let (miss, hit) = (get(&session, &origin, "/a"), get(&session, &origin, "/a"));
    assert!(!miss.from_cache() && hit.from_cache());
    assert_eq!((miss.cache_key(), miss.created_at()), (hit.cache_key(), hit.created_at()));
    assert_eq!(miss.expires_at(), hit.expires_at());
    assert!(miss.expires_at().is_some_and(|at| at > SystemTime::now()) && !hit.is_expired() && !hit.revalidated());
    assert_eq!((miss.status(), miss.reason(), miss.url()), (hit.status(), hit.reason(), hit.url()));
    assert_eq!(hit.headers().get_all("x-twice").iter().collect::<Vec<_>>(), ["1", "2"]);
    assert_eq!(miss.headers(), hit.headers());
}

fn cookies_that_a_response_sets_are_readable_on_a_hit(place: &Place) {
    let origin = Origin::start();
    origin.route("/a", Reply::ok("x").header("Set-Cookie", "a=1; Path=/").header("Set-Cookie", "b=2"));
    let session = place.session();
    for from_cache in [false, true] {
        let response = get(&session, &origin, "/a");
        assert_eq!(response.from_cache(), from_cache);
        assert_eq!(response.cookies().collect::<Vec<_>>(), [("a", "1"), ("b", "2")]);
    }
}

fn the_order_of_parameters_and_of_form_fields_does_not_count(place: &Place) {
    let origin = Origin::start();
    origin.route("/a", Reply::ok("x"));
    let session = place.builder().allowable_methods(["GET", "POST"]).build().unwrap();
    assert!(!get(&session, &origin, "/a?b=1&a=2").from_cache());
    assert!(get(&session, &origin, "/a?a=2&b=1").from_cache());
    assert!(!get(&session, &origin, "/a?a=2&b=1&a=1").from_cache());
    assert!(!get(&session, &origin, "/a?a=2&b=1&key-only").from_cache());
    let json = |text: &'static str| {
        session
            .post(origin.url("/a"))
            .header("Content-Type", "application/json")
            .body(text)
            .send()
            .unwrap()
            .from_cache()
    };
    assert!(!json(r#"{"a": 1, "b": {"c": 2, "d": 3}}"#));
    assert!(json(r#"{"b":{"d":3,"c":2},"a":1}"#));
    assert!(!json(r#"{"b":{"d":3,"c":2},"a":2}"#));
    assert!(!json("{not json"));
    assert!(json("{not json"));
}

fn chains_of_one_to_four_hops_leave_as_many_aliases(place: &Place) {
    for hops in 1..=4 {
        let origin = Origin::start();
        origin.route("/0", Reply::ok("end"));
        for hop in 1..=hops {
            let to = format!("/{}", hop - 1);
            let location = if hop % 2 == 0 { to } else { origin.url(&to) };
            origin.route(&format!("/{hop}"), Reply::redirect(302, location));
        }
        let session = place.session();
        session.cache().clear().unwrap();
        assert_eq!(get(&session, &origin, &format!("/{hops}")).history().len(), hops);
        let asked = origin.total_hits();
        for from in 0..=hops {
            let response = get(&session, &origin, &format!("/{from}"));
            assert!(response.from_cache() && response.text().unwrap() == "end");
            assert_eq!(response.history().len(), from);
        }
        assert_eq!((origin.total_hits(), session.cache().len().unwrap()), (asked, 1));
    }
}

fn two_sessions_see_each_others_writes(place: &Place) {
    let origin = Origin::start();
    origin.route("/a", Reply::ok("x")).route("/b", Reply::ok("y"));
    let one = place.session();
    let other = another(place, &one);
    get(&one, &origin, "/a");
    assert!(get(&other, &origin, "/a").from_cache());
    get(&other, &origin, "/b");
    assert!(get(&one, &origin, "/b").from_cache());
    assert_eq!(one.cache().keys().unwrap().len(), 2);
    assert!(other.cache().delete_url(origin.url("/a")).unwrap());
    assert!(!get(&one, &origin, "/a").from_cache());
}

fn a_key_is_usable_again_after_its_deletion(place: &Place) {
    let origin = Origin::start();
    origin.route("/a", Reply::ok("1"));
    let session = place.session();
    let key = get(&session, &origin, "/a").cache_key().unwrap().to_owned();
    assert!(session.cache().delete(&key).unwrap() && !session.cache().contains(&key).unwrap());
    origin.route("/a", Reply::ok("2"));
    assert_eq!(get(&session, &origin, "/a").text().unwrap(), "2");
    let hit = get(&session, &origin, "/a");
    assert_eq!((hit.text().unwrap().as_str(), hit.cache_key(), session.cache().len().unwrap()), ("2", Some(&*key), 1));
}

fn an_alias_leads_to_what_takes_the_place_of_its_target(place: &Place) {
    let origin = Origin::start();
    origin.route("/a", Reply::ok("1"));
    let session = place.session();
    get(&session, &origin, "/a");
    session.cache().alias("name", origin.url("/a")).unwrap();
    origin.route("/a", Reply::ok("2"));
    session.get(origin.url("/a")).refresh().send().unwrap();
    let (response, _) = session.cache().get("name").unwrap().unwrap();
    assert_eq!(&response.bytes()[..], b"2");
    assert_eq!(session.cache().alias("name", "nothing").unwrap_err().kind(), ErrorKind::InvalidInput);
}

fn deleting_a_response_takes_its_aliases_along(place: &Place) {
    let origin = Origin::start();
    origin.route("/a", Reply::ok("1")).route("/moved", Reply::redirect(301, "/a"));
    let session = place.session();
    get(&session, &origin, "/moved");
    session.cache().alias("name", origin.url("/a")).unwrap();
    session.cache().alias("name of a name", "name").unwrap();
    for name in ["name", "name of a name", &origin.url("/moved")] {
        assert!(session.cache().contains(name).unwrap(), "{name}");
    }
    assert!(session.cache().delete_url(origin.url("/a")).unwrap());
    get(&session, &origin, "/a");
    for name in ["name", "name of a name", &origin.url("/moved")] {
        assert!(!session.cache().contains(name).unwrap(), "{name} has come back with its target");
    }
    assert_eq!(session.cache().len().unwrap(), 1);
}

fn deleting_what_is_absent_touches_nothing_else(place: &Place) {
    let origin = Origin::start();
    origin.route("/a", Reply::ok("1"));
    let session = place.session();
    get(&session, &origin, "/a");
    assert!(!session.cache().delete("absent").unwrap());
    assert!(!session.cache().delete_url(origin.url("/absent")).unwrap());
    assert!(session.cache().get("absent").unwrap().is_none());
    assert!(get(&session, &origin, "/a").from_cache());
}

fn removing_the_expired_keeps_the_rest_and_its_redirects(place: &Place) {
    let origin = Origin::start();
    let session = place.session();
    for n in 0..6 {
        origin
            .route(&format!("/{n}"), Reply::ok("x"))
            .route(&format!("/to/{n}"), Reply::redirect(302, format!("/{n}")));
        let request = session.get(origin.url(&format!("/to/{n}")));
        if n % 2 == 0 { request.expire_after(Duration::from_millis(1)) } else { request }.send().unwrap();
    }
    thread::sleep(Duration::from_millis(20));
    assert_eq!(session.cache().remove_expired().unwrap(), 3);
    for n in 0..6 {
        for path in [format!("/{n}"), format!("/to/{n}")] {
            assert_eq!(session.cache().contains(origin.url(&path)).unwrap(), n % 2 == 1, "{path}");
        }
    }
    assert_eq!(session.cache().len().unwrap(), 3);
    session.cache().compact().unwrap();
    assert!(get(&session, &origin, "/to/1").from_cache());
}

fn expiration_can_be_reset_to_longer_and_shorter(place: &Place) {
    let origin = Origin::start();
    origin.route("/a", Reply::ok("x")).route("/b", Reply::redirect(302, "/a"));
    let session = place.builder().expire_after(Duration::from_secs(3600)).build().unwrap();
    get(&session, &origin, "/b");
    assert_eq!(session.cache().reset_expiration(Duration::from_millis(1)).unwrap(), 1);
    thread::sleep(Duration::from_millis(20));
    assert_eq!(session.cache().len().unwrap(), 1, "what is expired stays");
    assert_eq!(session.cache().reset_expiration(Duration::from_secs(60)).unwrap(), 1);
    assert!(get(&session, &origin, "/b").from_cache());
    session.cache().reset_expiration(Duration::from_millis(1)).unwrap();
    thread::sleep(Duration::from_millis(20));
    assert!(!get(&session, &origin, "/b").from_cache());
}

fn a_read_only_session_stores_nothing(place: &Place) {
    if place.is_in_memory() {
        return;
    }
    let origin = Origin::start();
    origin.route("/a", Reply::ok("x")).route("/b", Reply::ok("y"));
    let session = place.session();
    get(&session, &origin, "/a");
    let reader = place.builder().read_only(true).build().unwrap();
    assert!(get(&reader, &origin, "/a").from_cache());
    for _ in 0..2 {
        assert!(!get(&reader, &origin, "/b").from_cache());
    }
    assert!(!reader.get(origin.url("/a")).refresh().send().unwrap().from_cache());
    assert_eq!(reader.cache().clear().unwrap_err().kind(), ErrorKind::ReadOnly);
    assert_eq!(session.cache().len().unwrap(), 1);
}

fn what_was_recorded_is_replayed_offline(place: &Place) {
    if place.is_in_memory() {
        return;
    }
    let origin = Origin::start();
    origin.route("/a", Reply::ok("x")).route("/b", Reply::redirect(302, "/a"));
    let session = place.session();
    session.get(origin.url("/b")).header("Authorization", "Bearer t").send().unwrap();
    let offline = place.builder().mode(Mode::Offline).build().unwrap();
    // Without the credentials that it was recorded with, too.
    let replayed = get(&offline, &origin, "/b");
    assert!(replayed.from_cache() && replayed.text().unwrap() == "x" && replayed.history().len() == 1);
    assert_eq!(offline.get(origin.url("/c")).send().unwrap_err().kind(), ErrorKind::OfflineMiss);
}

fn a_hundred_saves_at_once_lose_nothing(place: &Place) {
    let origin = Origin::start();
    for n in 0..100 {
        origin.route(&format!("/{n}"), Reply::ok(n.to_string()));
    }
    origin.route("/same", Reply::ok("same"));
    let session = place.session();
    thread::scope(|scope| {
        for thread in 0..10 {
            let (session, origin) = (another(place, &session), &origin);
            scope.spawn(move || {
                for n in thread * 10..thread * 10 + 10 {
                    get(&session, origin, &format!("/{n}"));
                    session.get(origin.url("/same")).refresh().send().unwrap();
                }
            });
        }
    });
    assert_eq!(session.cache().stats().unwrap().errors, 0);
    assert_eq!(session.cache().len().unwrap(), 101);
    for n in 0..100 {
        let hit = get(&session, &origin, &format!("/{n}"));
        assert!(hit.from_cache() && hit.text().unwrap() == n.to_string());
    }
}

fn clearing_keeps_other_caches_of_the_same_server(place: &Place) {
    // A name that begins like the other, and one behind a colon.
    let other = Place::new(place.backend.clone());
    let origin = Origin::start();
    origin.route("/a", Reply::ok("x"));
    let (session, neighbour) = (place.session(), other.session());
    get(&session, &origin, "/a");
    get(&neighbour, &origin, "/a");
    session.cache().clear().unwrap();
    assert_eq!((session.cache().len().unwrap(), neighbour.cache().len().unwrap()), (0, 1));
    assert!(!get(&session, &origin, "/a").from_cache());
    assert!(get(&neighbour, &origin, "/a").from_cache());
}

fn credentials_are_redacted_in_what_is_stored(place: &Place) {
    let origin = Origin::start();
    origin.route("/a", Reply::ok("x"));
    let session = place.builder().allowable_methods(["POST"]).build().unwrap();
    let request = session.post(origin.url("/a")).query("api_key", "secret").header("authorization", "Bearer secret");
    let key = request.json(serde_json::json!({"deep": {"access_token": "secret"}})).send().unwrap();
    let (stored, _) = session.cache().get(key.cache_key().unwrap()).unwrap().unwrap();
    let stored = format!("{stored:?}");
    assert!(!stored.contains("secret"), "{stored}");
    assert!(!session.cache().urls().unwrap().concat().contains("secret"));
}

fn a_body_of_20_mib_is_a_hit(place: &Place) {
    let origin = Origin::start();
    let body: Vec<u8> = (0..20 << 20_u32).map(|n: u32| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    origin.route("/a", Reply::ok(body.clone()));
    let session = place.session();
    for from_cache in [false, true] {
        let response = get(&session, &origin, "/a");
        assert_eq!(response.from_cache(), from_cache);
        assert!(response.bytes() == &body[..], "the body is another");
    }
    let mut streamed = Vec::new();
    let mut stream = session.get(origin.url("/a")).send_stream().unwrap();
    std::io::copy(&mut stream, &mut streamed).unwrap();
    assert!(stream.from_cache() && streamed == body);
}

fn settings_name_the_backend(place: &Place) {
    let text = serde_json::to_string(&place.backend).unwrap();
    let backend: larder::Backend = serde_json::from_str(&text).unwrap();
    assert_eq!(backend.to_string(), place.backend.to_string());
    let session = place.builder().backend(backend).build().unwrap();
    assert!(session.cache().is_empty().unwrap());
}
