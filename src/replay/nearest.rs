//! Which of many URLs are most like one.

/// Longer URLs are compared by their beginning.
const COMPARED_MAX: usize = 256;

/// Those of `urls` that are like `wanted`, the most alike first: on the same host, or a few characters away.
pub(super) fn nearest<'a>(wanted: &str, urls: &'a [String], max: usize) -> Vec<&'a str> {
    let (host, path) = split(wanted);
    let mut candidates: Vec<(bool, bool, usize, &str)> = Vec::new();
    for url in urls {
        let (own_host, own_path) = split(url);
        let distance = distance(wanted, url);
        let shorter = wanted.len().min(url.len()).min(COMPARED_MAX);
        let alike = if own_host == host { distance * 2 <= shorter } else { distance * 4 <= shorter };
        if alike || (own_host == host && first_segment(own_path) == first_segment(path)) {
            candidates.push((own_path != path, own_host != host, distance, url));
        }
    }
    candidates.sort_unstable();
    candidates.into_iter().take(max).map(|(.., url)| url).collect()
}

/// Host and path of a URL, without its query.
fn split(url: &str) -> (&str, &str) {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash))
}

fn first_segment(path: &str) -> &str {
    path.trim_start_matches('/').split('/').next().unwrap_or_default()
}

/// How many characters have to be added, removed or replaced to get from one to the other (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(COMPARED_MAX).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().take(COMPARED_MAX).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_of_the_classic_examples() {
        for (a, b, want) in [("kitten", "sitting", 3), ("", "abc", 3), ("abc", "", 3), ("abc", "abc", 0)] {
            assert_eq!(distance(a, b), want, "{a} {b}");
        }
    }

    #[test]
    fn the_same_path_comes_first_then_what_is_spelled_alike() {
        let urls = [
            "http://api.example/v1/groups",
            "http://api.example/v1/users?page=1",
            "http://api.example/v1/user",
            "http://api.example/v1/invoices/archive/2024",
            "http://other.example/entirely/different",
        ]
        .map(str::to_owned);
        let near = nearest("http://api.example/v1/users?page=2", &urls, 3);
        assert_eq!(
            near,
            ["http://api.example/v1/users?page=1", "http://api.example/v1/user", "http://api.example/v1/groups"]
        );
    }

    #[test]
    fn another_host_counts_only_if_it_is_a_typing_error_away() {
        let urls = ["http://api.example.org/users".to_owned()];
        assert_eq!(nearest("http://api.exmaple.org/users", &urls, 3).len(), 1);
        assert!(nearest("http://somewhere.else/users", &urls, 3).is_empty());
    }
}
