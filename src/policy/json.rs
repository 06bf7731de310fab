//! The canonical form of a JSON text: no white space, keys sorted at every depth, strings in one spelling.
//!
//! Written by hand because the key of a request must tell apart what a parser into numbers and maps makes equal:
//! integers of 30 digits, `1` and `1.0`, and keys that occur twice. Grammar: RFC 8259.

use super::redact::{Credentials, REDACTED};

/// Deeper documents count as bytes; the recursion stays far from the end of the stack.
const DEPTH_MAX: u32 = 128;

/// The canonical form with the values of secret keys replaced and collected; `None` if the text is not JSON.
pub(super) fn canonical(text: &str, found: &mut Credentials) -> Option<Vec<u8>> {
    let mut reader = Reader { text, at: 0, secrets: Vec::new(), hides: found };
    let mut out = Vec::with_capacity(text.len());
    reader.value(&mut out, DEPTH_MAX)?;
    reader.space();
    if reader.at < text.len() {
        return None;
    }
    // Numbered, since two passwords that change places are other credentials.
    let secrets: Vec<_> = reader.secrets.into_iter().filter(|(name, _)| !found.ignores(name)).collect();
    for (n, (name, value)) in secrets.into_iter().enumerate() {
        found.push(&format!("{n}:{name}"), value);
    }
    Some(out)
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    /// Names and values, in the order of the canonical form.
    secrets: Vec<(String, Vec<u8>)>,
    hides: &'a Credentials,
}

struct Member {
    name: String,
    value: Vec<u8>,
    secrets: Vec<(String, Vec<u8>)>,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn eat(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Reads a value and appends its canonical form.
    fn value(&mut self, out: &mut Vec<u8>, depth: u32) -> Option<()> {
        self.space();
        match self.peek()? {
            b'{' => self.object(out, depth.checked_sub(1)?),
            b'[' => self.array(out, depth.checked_sub(1)?),
            b'"' => {
                let string = self.string()?;
                quote(&string, out);
                Some(())
            }
            b't' => self.word("true", out),
            b'f' => self.word("false", out),
            b'n' => self.word("null", out),
            _ => self.number(out),
        }
    }

    fn object(&mut self, out: &mut Vec<u8>, depth: u32) -> Option<()> {
        let mut members: Vec<Member> = Vec::new();
        let before = self.secrets.len();
        self.eat(b'{')?;
        self.space();
        while self.peek()? != b'}' {
            if !members.is_empty() {
                self.eat(b',')?;
                self.space();
            }
            let name = self.string()?;
            self.space();
            self.eat(b':')?;
            let mut value = Vec::new();
            self.value(&mut value, depth)?;
            if self.hides.hides(&name) {
                self.secrets.push((name.to_ascii_lowercase(), value));
                value = Vec::new();
                quote(REDACTED, &mut value);
            }
            members.push(Member { name, value, secrets: self.secrets.split_off(before) });
            self.space();
        }
        self.eat(b'}')?;
        // Stable: of a key that occurs twice the order counts, since it decides which value a server takes.
        members.sort_by(|a, b| a.name.cmp(&b.name));
        out.push(b'{');
        for (at, member) in members.into_iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            quote(&member.name, out);
            out.push(b':');
            out.extend_from_slice(&member.value);
            self.secrets.extend(member.secrets);
        }
        out.push(b'}');
        Some(())
    }

    fn array(&mut self, out: &mut Vec<u8>, depth: u32) -> Option<()> {
        self.eat(b'[')?;
        out.push(b'[');
        self.space();
        let mut first = true;
        while self.peek()? != b']' {
            if !first {
                self.eat(b',')?;
                out.push(b',');
            }
            first = false;
            self.value(out, depth)?;
            self.space();
        }
        self.eat(b']')?;
        out.push(b']');
        Some(())
    }

    fn word(&mut self, word: &str, out: &mut Vec<u8>) -> Option<()> {
        let rest = self.text.get(self.at..)?;
        rest.starts_with(word).then(|| {
            self.at += word.len();
            out.extend_from_slice(word.as_bytes());
        })
    }

    /// Numbers keep their spelling: what two spellings mean depends on who reads them.
    fn number(&mut self, out: &mut Vec<u8>) -> Option<()> {
        let start = self.at;
        let _ = self.eat(b'-');
        if self.eat(b'0').is_none() {
            self.digits()?;
        }
        if self.eat(b'.').is_some() {
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        out.extend_from_slice(self.text.as_bytes().get(start..self.at)?);
        Some(())
    }

    fn digits(&mut self) -> Option<()> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        (self.at > start).then_some(())
    }

    fn string(&mut self) -> Option<String> {
        self.eat(b'"')?;
        let mut out = String::new();
        loop {
            let start = self.at;
            while self.peek()? >= b' ' && !matches!(self.peek()?, b'"' | b'\\') {
                self.at += 1;
            }
            out.push_str(self.text.get(start..self.at)?);
            let stop = self.peek()?;
            self.at += 1;
            match stop {
                b'"' => return Some(out),
                b'\\' => out.push(self.escape()?),
                // A control character must be escaped.
                _ => return None,
            }
        }
    }

    fn escape(&mut self) -> Option<char> {
        let escape = self.peek()?;
        self.at += 1;
        Some(match escape {
            b'"' | b'\\' | b'/' => char::from(escape),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let unit = self.unit()?;
                // Surrogates come in pairs; a lone one is no character.
                if (0xd800..0xdc00).contains(&unit) {
                    self.eat(b'\\')?;
                    self.eat(b'u')?;
                    let low = self.unit()?.checked_sub(0xdc00).filter(|low| *low < 0x400)?;
                    char::from_u32(0x10000 + ((unit - 0xd800) << 10) + low)?
                } else {
                    char::from_u32(unit)?
                }
            }
            _ => return None,
        })
    }

    fn unit(&mut self) -> Option<u32> {
        let digits = self.text.get(self.at..self.at + 4)?;
        self.at += 4;
        digits.chars().try_fold(0, |unit, digit| Some(unit << 4 | digit.to_digit(16)?))
    }
}

/// Appends a string with the fewest escapes.
fn quote(string: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for &byte in string.as_bytes() {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            0..b' ' => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(text: &str) -> Option<String> {
        canonical(text, &mut Credentials::default()).map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn spellings_of_one_document_have_one_form() {
        for (text, want) in [
            (r#" { "b" : 1 , "a" : { "d" : [ ] , "c" : null } } "#, r#"{"a":{"c":null,"d":[]},"b":1}"#),
            (r#""\u0041\/\ud83d\ude00\n""#, "\"A/😀\\u000a\""),
            (r#"["x" , true,false ]"#, r#"["x",true,false]"#),
            ("\t-0.5E+10\r\n", "-0.5E+10"),
        ] {
            assert_eq!(form(text).as_deref(), Some(want), "{text}");
        }
    }

    #[test]
    fn different_documents_have_different_forms() {
        for (a, b) in [
            ("[1,2]", "[2,1]"),
            ("1", "1.0"),
            ("123456789012345678901234567890", "123456789012345678901234567891"),
            (r#"{"a":1}"#, r#"{"a":1,"a":1}"#),
            (r#"{"a":1,"a":2}"#, r#"{"a":2,"a":1}"#),
            (r#""1""#, "1"),
            (r#"{"a":""}"#, r#"{"a":null}"#),
            (r#"{"a,b":1}"#, r#"{"a":1,"b":1}"#),
            (r#""\"""#, r#""\\""#),
        ] {
            assert!(form(a).is_some() && form(b).is_some(), "{a} {b}");
            assert_ne!(form(a), form(b));
        }
    }

    #[test]
    fn what_is_no_json_has_no_form() {
        let deep = "[".repeat(200) + &"]".repeat(200);
        for text in [
            "",
            " ",
            "{",
            "[1,]",
            "[,1]",
            r#"{"a":1,}"#,
            r#"{"a"}"#,
            "{a:1}",
            "01",
            "+1",
            ".5",
            "1.",
            "1e",
            "tru",
            "1 2",
            "\"a",
            "\"\n\"",
            r#""\x""#,
            r#""\ud800""#,
            r#""\udc00""#,
            r#""\ud800\u0041""#,
            r#""\u00g0""#,
            "nan",
            &deep,
        ] {
            assert_eq!(form(text), None, "{text}");
        }
        assert!(form(&("[".repeat(128) + &"]".repeat(128))).is_some());
        assert!(form(&("[".repeat(129) + &"]".repeat(129))).is_none());
    }

    #[test]
    fn secrets_are_taken_out_at_any_depth() {
        let mut found = Credentials::default();
        let text = r#"{"a":[{"API-key":"s1"}],"Pass\u0077ord":{"x":[1]},"n":1}"#;
        let form = canonical(text, &mut found).unwrap();
        let want = r#"{"Password":"REDACTED","a":[{"API-key":"REDACTED"}],"n":1}"#;
        assert_eq!(String::from_utf8(form).unwrap(), want);
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn secrets_count_by_their_place() {
        let all = |text: &str| {
            let mut found = Credentials::default();
            canonical(text, &mut found).unwrap();
            found.sort();
            found.to_bytes()
        };
        let one = all(r#"{"from":{"password":"1"},"to":{"password":"2"}}"#);
        assert_eq!(one, all(r#"{"to":{"password":"2"}, "from":{"password":"1"}}"#));
        assert_ne!(one, all(r#"{"from":{"password":"2"},"to":{"password":"1"}}"#));
        for (a, b) in [
            (r#"[{"token":1},{"token":2}]"#, r#"[{"token":2},{"token":1}]"#),
            (r#"{"token":1,"token":2}"#, r#"{"token":2,"token":1}"#),
            (r#"{"token":{"token":1,"sig":2}}"#, r#"{"token":{"token":2,"sig":1}}"#),
        ] {
            assert_ne!(all(a), all(b), "{a} {b}");
        }
    }

    #[test]
    fn secrets_of_a_text_that_proves_ill_formed_are_not_counted() {
        let mut found = Credentials::default();
        assert_eq!(canonical(r#"{"token":"s"} x"#, &mut found), None);
        assert!(found.is_empty());
    }
}
