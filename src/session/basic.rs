//! Basic authentication (RFC 7617).

use percent_encoding::percent_decode_str;

use crate::entry::base64;

/// The value of the `Authorization` header.
pub(super) fn authorization(user: &str, password: &str) -> String {
    format!("Basic {}", base64::encode(format!("{user}:{password}").as_bytes()))
}

/// A part of the userinfo of a URL as the user meant it.
pub(super) fn percent_decoded(part: &str) -> String {
    percent_decode_str(part).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_7617() {
        assert_eq!(authorization("Aladdin", "open sesame"), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    }
}
