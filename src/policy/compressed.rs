//! Which bodies are not worth compressing again.

use http::{HeaderMap, header::CONTENT_TYPE};

/// Whether a body is compressed already: by the content coding in which it is stored, or as media types of its kind
/// are.
///
/// What this does not know, a store that compresses finds out by trying.
pub(crate) fn is_compressed(coding: &str, headers: &HeaderMap) -> bool {
    if !coding.is_empty() {
        return true;
    }
    let Some(value) = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()) else { return false };
    let media_type = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let (kind, subtype) = media_type.split_once('/').unwrap_or((&media_type, ""));
    match kind {
        // Vector graphics are text; bitmaps and icons of old are as large as they look.
        "image" => !matches!(subtype, "svg+xml" | "bmp" | "x-ms-bmp" | "x-icon" | "vnd.microsoft.icon"),
        "audio" => !matches!(subtype, "wav" | "x-wav" | "wave" | "midi" | "l16" | "l24"),
        "video" => true,
        "font" => matches!(subtype, "woff" | "woff2"),
        "application" => {
            matches!(
                subtype,
                "zip"
                    | "gzip"
                    | "x-gzip"
                    | "zstd"
                    | "x-bzip2"
                    | "x-xz"
                    | "x-7z-compressed"
                    | "vnd.rar"
                    | "x-rar-compressed"
                    | "java-archive"
                    | "epub+zip"
                    | "font-woff"
            ) || subtype.starts_with("vnd.openxmlformats-")
                || subtype.starts_with("vnd.oasis.opendocument.")
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codings_and_media_types_tell() {
        let told = |coding: &str, media_type: &str| {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, media_type.parse().unwrap())]);
            is_compressed(coding, &headers)
        };
        for media_type in ["image/png", "Image/JPEG; x=y", "video/mp4", "audio/ogg", "font/woff2", "application/zip"] {
            assert!(told("", media_type), "{media_type}");
        }
        for media_type in ["text/html; charset=utf-8", "application/json", "image/svg+xml", "audio/wav", "", "zip"] {
            assert!(!told("", media_type), "{media_type}");
            assert!(told("br", media_type));
        }
        assert!(!is_compressed("", &HeaderMap::new()));
    }
}
