//! Enough of Rust's grammar to check a rule about paths: text to tokens, and test items taken out.

/// A word or a sign, and the line it stands in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) line: usize,
}

pub(crate) fn is(tokens: &[Token], at: usize, text: &str) -> bool {
    tokens.get(at).is_some_and(|token| token.text == text)
}

pub(crate) fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Words and punctuation of a Rust text; comments, literals and lifetimes are left out, `::` is one token.
pub(crate) fn tokens(text: &str) -> Vec<Token> {
    let bytes = text.as_bytes();
    let mut tokens = Vec::new();
    let (mut at, mut line) = (0, 1);
    while let Some(&byte) = bytes.get(at) {
        let rest = &text[at..];
        let len = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if let Some(len) = string(rest) {
            len
        } else if byte == b'\'' {
            quote(rest)
        } else if byte.is_ascii_alphabetic() || byte == b'_' || !byte.is_ascii() {
            let len = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len()).max(1);
            let len = if rest.is_char_boundary(len) { len } else { rest.chars().next().map_or(1, char::len_utf8) };
            tokens.push(Token { text: rest[..len].to_owned(), line });
            len
        } else {
            let len = if rest.starts_with("::") { 2 } else { 1 };
            if !byte.is_ascii_whitespace() && !byte.is_ascii_digit() {
                tokens.push(Token { text: rest[..len].to_owned(), line });
            }
            len
        };
        line += rest[..len].matches('\n').count();
        at += len;
    }
    tokens
}

/// The length of a block comment; they nest.
fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    loop {
        let tail = &rest.as_bytes()[at..];
        if tail.is_empty() {
            return rest.len();
        }
        let step = if tail.starts_with(b"/*") {
            depth += 1;
            2
        } else if tail.starts_with(b"*/") {
            depth -= 1;
            2
        } else {
            1
        };
        at += step;
        if depth == 0 {
            return at;
        }
    }
}

/// The length of a string literal that starts here: plain, byte, C or raw.
fn string(rest: &str) -> Option<usize> {
    let prefix = ["br", "cr", "b", "c", "r", ""].into_iter().find(|prefix| {
        rest.strip_prefix(prefix).is_some_and(|tail| {
            let hashes = tail.len() - tail.trim_start_matches('#').len();
            tail[hashes..].starts_with('"') && (hashes == 0 || prefix.contains('r'))
        })
    })?;
    let tail = &rest[prefix.len()..];
    if prefix.contains('r') {
        let hashes = tail.len() - tail.trim_start_matches('#').len();
        let end = format!("\"{}", "#".repeat(hashes));
        let body = prefix.len() + hashes + 1;
        return Some(rest[body..].find(&end).map_or(rest.len(), |at| body + at + end.len()));
    }
    Some(prefix.len() + escaped(tail, b'"'))
}

/// The length of a literal that ends at the same character as it starts with, a backslash protecting the next.
fn escaped(rest: &str, end: u8) -> usize {
    let bytes = rest.as_bytes();
    let mut at = 1;
    while at < bytes.len() && bytes[at] != end {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}

/// The length of a character literal; of a lifetime only the quote, so that its name becomes a token.
fn quote(rest: &str) -> usize {
    let mut chars = rest.chars().skip(1);
    match (chars.next(), chars.next()) {
        (Some('\\'), _) => escaped(rest, b'\''),
        (Some(c), Some('\'')) => 2 + c.len_utf8(),
        _ => 1,
    }
}

/// Takes the `#[cfg(test)]` items out, and names the modules among them that are files of their own.
pub(crate) fn without_tests(tokens: &[Token]) -> (Vec<Token>, Vec<String>) {
    const MARK: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let (mut kept, mut modules) = (Vec::new(), Vec::new());
    let mut at = 0;
    while at < tokens.len() {
        if !MARK.iter().enumerate().all(|(step, text)| is(tokens, at + step, text)) {
            kept.push(tokens[at].clone());
            at += 1;
            continue;
        }
        let start = at + MARK.len();
        let end = item_end(tokens, start);
        let item = &tokens[start..end];
        if is(item, item.len().saturating_sub(1), ";")
            && let Some(keyword) = item.iter().position(|token| token.text == "mod")
        {
            modules.extend(item.get(keyword + 1).map(|name| name.text.clone()));
        }
        at = end;
    }
    (kept, modules)
}

/// Where an item ends: behind its `;` or its `}` that stands in no bracket.
fn item_end(tokens: &[Token], start: usize) -> usize {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate().skip(start) {
        match token.text.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 && (token.text == ";" || token.text == "}") {
            return at + 1;
        }
    }
    tokens.len()
}
