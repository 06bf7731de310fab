//! Which names of headers, parameters and JSON keys stand before credentials.

/// Ends of the names of headers, parameters and JSON keys whose values are credentials, squeezed: vendors put their own
/// name before them, as in `X-Shopify-Access-Token`.
const SECRET_ENDS: &[&str] = &[
    "accesskey",
    "accesskeyid",
    "apikey",
    "apikeys",
    "applicationkey",
    "assertion",
    "authkey",
    "authorization",
    "credential",
    "credentials",
    "masterkey",
    "passcode",
    "passphrase",
    "passwd",
    "password",
    "privatekey",
    "secret",
    "secretkey",
    "sessid",
    "sessionid",
    "sessionkey",
    "signature",
    "signingkey",
    "subscriptionkey",
    "token",
];

/// Squeezed names of credentials that are too short, or too usual at the end of other names, to be `SECRET_ENDS`.
///
/// `key`, `code`, `pat` and `appid` are not among them: far more often they say what is asked for than who asks.
const SECRET_NAMES: &[&str] =
    &["apisig", "auth", "codeverifier", "cookie", "jwt", "pass", "pwd", "sid", "sig", "xauth", "xfunctionskey"];

/// Squeezed names that end like a credential and say which part of an answer is wanted. Two pages must not look like
/// one request of two users. Counts such as `max_tokens` are plural and end like no credential.
const NOT_SECRET_NAMES: &[&str] = &[
    "continuationtoken",
    "deltatoken",
    "nextcontinuationtoken",
    "nextpagetoken",
    "nexttoken",
    "pagetoken",
    "paginationtoken",
    "pagingtoken",
    "prevpagetoken",
    "previouspagetoken",
    "resumptiontoken",
    "skiptoken",
    "startpagetoken",
    "stoptoken",
    "synctoken",
];

/// Whether the value under this name is a credential. Case, `-` and `_` do not matter; of a nested name, such as
/// `user[password]` or `auth.token`, each segment counts.
pub(crate) fn is_secret(name: &str) -> bool {
    name.split(['[', ']', '.']).filter(|name| may_be_secret(name)).map(squeeze).any(|name| {
        let secret = SECRET_NAMES.contains(&name.as_str()) || SECRET_ENDS.iter().any(|end| name.ends_with(end));
        secret && !NOT_SECRET_NAMES.contains(&name.as_str()) && !name.starts_with("cursor")
    })
}

/// The letters and digits of a name, in lower case: `X-Api-Key`, `x_api_key` and `xApiKey` are one name.
pub(crate) fn squeeze(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

/// Whether a name ends like that of a credential. Most names do not, and are told without a copy.
fn may_be_secret(name: &str) -> bool {
    let letters = || name.bytes().rev().filter(u8::is_ascii_alphanumeric).map(|byte| byte.to_ascii_lowercase());
    let mut last = letters();
    // The last two letters alone rule most of them out.
    let (Some(last), Some(before)) = (last.next(), last.next()) else { return false };
    if LAST_LETTERS[usize::from(letter(last))] & 1 << letter(before) == 0 {
        return false;
    }
    SECRET_ENDS.iter().chain(SECRET_NAMES).map(|end| end.bytes()).any(|end| {
        end.clone().next_back() == Some(last)
            && end.len() == end.rev().zip(letters()).take_while(|(a, b)| a == b).count()
    })
}

/// For each last letter of a secret name, the letters that come before it: a bit for each.
static LAST_LETTERS: [u32; LETTERS] = {
    let mut table = [0; LETTERS];
    let lists = [SECRET_ENDS, SECRET_NAMES];
    let mut list = 0;
    while list < lists.len() {
        let mut at = 0;
        while at < lists[list].len() {
            let name = lists[list][at].as_bytes();
            table[letter(name[name.len() - 1]) as usize] |= 1 << letter(name[name.len() - 2]);
            at += 1;
        }
        list += 1;
    }
    table
};

/// The letters, and all digits as one more.
const LETTERS: usize = 27;

const fn letter(byte: u8) -> u8 {
    if byte.is_ascii_lowercase() { byte - b'a' } else { 26 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_names_are_recognised_in_any_spelling() {
        for name in [
            "Authorization",
            "proxy-authorization",
            "COOKIE",
            "X-Api-Key",
            "api_key",
            "apikey",
            "API-KEY",
            "accessToken",
            "access_token",
            "user[password]",
            "auth.token",
            "X-Amz-Signature",
            "client_secret",
            "x-goog-api-key",
        ] {
            assert!(is_secret(name), "{name}");
        }
    }

    #[test]
    fn headers_of_many_services_are_secret() {
        for name in [
            "CF-Access-Client-Secret",
            "Cf-Access-Jwt-Assertion",
            "Circle-Token",
            "DD-API-KEY",
            "DD-APPLICATION-KEY",
            "JOB-TOKEN",
            "Ocp-Apim-Subscription-Key",
            "Private-Token",
            "X-Algolia-API-Key",
            "X-Amz-Credential",
            "X-Amz-Security-Token",
            "X-ApiKeys",
            "X-App-Token",
            "X-Auth",
            "X-Auth-Key",
            "X-Auth-Token",
            "X-Authorization",
            "X-CSRF-Token",
            "X-Consul-Token",
            "X-Figma-Token",
            "X-Functions-Key",
            "X-GitHub-Token",
            "X-Goog-Signature",
            "X-MBX-APIKEY",
            "X-Octopus-ApiKey",
            "X-Parse-Master-Key",
            "X-RapidAPI-Key",
            "X-Redmine-API-Key",
            "X-Secret",
            "X-Session-Token",
            "X-Shopify-Access-Token",
            "X-Subscription-Token",
            "X-Vault-Token",
            "X-XSRF-Token",
            "Zotero-API-Key",
        ] {
            assert!(is_secret(name), "{name}");
        }
    }

    #[test]
    fn parameters_of_many_services_are_secret() {
        for name in [
            "$$app_token",
            "PHPSESSID",
            "api_sig",
            "assertion",
            "client_assertion",
            "pass",
            "passcode",
            "session_key",
            "AWSAccessKeyId",
            "Signature",
            "api_secret",
            "app_token",
            "auth",
            "auth_token",
            "aws_secret_access_key",
            "bearer_token",
            "client_assertion",
            "code_verifier",
            "credentials",
            "hapikey",
            "id_token",
            "jwt",
            "oauth_token",
            "passphrase",
            "passwd",
            "private_key",
            "pwd",
            "refresh_token",
            "secret_key",
            "sessionid",
            "sid",
            "sig",
            "subscription-key",
            "token",
            "user_password",
        ] {
            assert!(is_secret(name), "{name}");
        }
    }

    #[test]
    fn names_of_pages_counts_and_other_things_are_not_secret() {
        for name in [
            "",
            "page",
            "etag",
            "accept",
            "cookie_consent",
            "design",
            "keys",
            "key",
            "code",
            "pat",
            "appid",
            "author",
            "inside",
            "tokens",
            "max_tokens",
            "num_tokens",
            "pageToken",
            "nextPageToken",
            "prev_page_token",
            "NextToken",
            "continuation-token",
            "syncToken",
            "pagination_token",
            "resumptionToken",
            "$skiptoken",
            "stop_token",
            "cursor",
            "cursor_token",
        ] {
            assert!(!is_secret(name), "{name}");
        }
    }
}
