//! Base64 with padding (RFC 4648, 4).

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

#[cfg(any(feature = "sqlite", feature = "redis", fuzzing, test))]
/// Stands for what is no digit in [`VALUES`].
const NONE: u8 = 0xFF;

#[cfg(any(feature = "sqlite", feature = "redis", fuzzing, test))]
/// The value of each digit.
const VALUES: [u8; 256] = {
    let mut values = [NONE; 256];
    let mut value = 0;
    while value < 64 {
        values[DIGITS[value as usize] as usize] = value;
        value += 1;
    }
    values
};

pub(crate) fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().fold(0, |group, byte| group << 8 | usize::from(*byte)) << (8 * (3 - chunk.len()));
        for digit in 0..4 {
            let sextet = group >> (18 - 6 * digit) & 63;
            text.push(if digit <= chunk.len() { char::from(DIGITS[sextet]) } else { '=' });
        }
    }
    text
}

#[cfg(any(feature = "sqlite", feature = "redis", fuzzing, test))]
/// The bytes of a text; white space does not count. `None` if it is not base64.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let digits = text.bytes().filter(|byte| !byte.is_ascii_whitespace());
    let (mut group, mut count, mut padding) = (0_u32, 0, 0);
    for digit in digits {
        if digit == b'=' {
            padding += 1;
            continue;
        }
        let value = VALUES[usize::from(digit)];
        if value == NONE || padding > 0 {
            return None;
        }
        group = group << 6 | u32::from(value);
        count += 1;
        if count == 4 {
            let [_, a, b, c] = group.to_be_bytes();
            bytes.extend_from_slice(&[a, b, c]);
            (group, count) = (0, 0);
        }
    }
    let [a, b, ..] = (group << (32 - 6 * count.max(1))).to_be_bytes();
    match (count, padding) {
        (0, 0) => {}
        (2, 2) => bytes.push(a),
        (3, 1) => bytes.extend_from_slice(&[a, b]),
        _ => return None,
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vectors_of_rfc_4648() {
        for (plain, coded) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(encode(plain.as_bytes()), coded);
            assert_eq!(decode(coded).as_deref(), Some(plain.as_bytes()));
        }
    }

    #[test]
    fn all_bytes_come_back() {
        let all: Vec<u8> = (0..=255).collect();
        for len in 0..all.len() {
            assert_eq!(decode(&encode(&all[..len])).as_deref(), Some(&all[..len]));
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["Z", "Zg", "Zg=", "Zg===", "Zm9", "Zm9v=", "Z=g=", "Zm-_", "Zm9vé"] {
            assert_eq!(decode(text), None, "{text}");
        }
        assert_eq!(decode("Zm9v\nYmFy").as_deref(), Some(&b"foobar"[..]));
    }
}
