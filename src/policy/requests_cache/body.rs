//! Bodies as requests-cache normalises them, by their content type.

use super::{KeyRules, json, url};
use http::HeaderValue;
use std::borrow::Cow;

/// Longer JSON counts as the bytes that it is.
const JSON_LEN_MAX: usize = 10 << 20;

pub(super) fn normal<'a>(content_type: Option<&HeaderValue>, body: &'a [u8], rules: &KeyRules) -> Cow<'a, [u8]> {
    let content_type = content_type.map(HeaderValue::as_bytes).unwrap_or_default();
    let media_type = content_type.split(|&byte| byte == b';').next().unwrap_or_default();
    let media_type = String::from_utf8_lossy(media_type).to_lowercase();
    // What is no text is no JSON and no form.
    let Ok(text) = std::str::from_utf8(body) else { return Cow::Borrowed(body) };
    let normal = if media_type.starts_with("application/") && media_type.contains("json") {
        (3..=JSON_LEN_MAX).contains(&body.len()).then(|| json::normal(text, rules)).flatten()
    } else if media_type == "application/x-www-form-urlencoded" {
        Some(url::params(text, rules))
    } else {
        None
    };
    normal.map_or(Cow::Borrowed(body), |normal| Cow::Owned(normal.into_bytes()))
}
