//! Which hosts are asked without a proxy.

use std::{net::IpAddr, str::FromStr};

use url::{Host, Url};

/// A list as `NO_PROXY` holds it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct NoProxy {
    entries: Vec<Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    what: What,
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    All,
    /// A host and all below it, in lower case.
    Domain(String),
    /// The addresses whose first bits are these.
    Net(IpAddr, u32),
}

impl NoProxy {
    /// Entries between commas or blanks: `*`; a host, with or without a dot or `*.` before it, which stands for itself
    /// and all below it; an address; a network such as `10.0.0.0/8` or `fd00::/8`. Each but the network may name a
    /// port. What is none of these is passed over.
    pub(crate) fn parse(text: &str) -> Self {
        let words = text.split([',', ' ', '\t', ';']).map(str::trim).filter(|word| !word.is_empty());
        Self { entries: words.filter_map(Entry::parse).collect() }
    }

    pub(crate) fn matches(&self, url: &Url) -> bool {
        let Some(host) = url.host() else { return false };
        let port = url.port_or_known_default();
        self.entries.iter().any(|entry| entry.port.is_none_or(|own| Some(own) == port) && entry.what.matches(&host))
    }
}

impl Entry {
    fn parse(word: &str) -> Option<Self> {
        let (host, port) = split_port(word)?;
        let what = match host {
            "*" => What::All,
            host => match net(host) {
                Some(net) => net,
                None => What::Domain(domain(host)?),
            },
        };
        Some(Self { what, port })
    }
}

/// A host and its port; an IPv6 address needs brackets if there is a port behind it.
fn split_port(word: &str) -> Option<(&str, Option<u16>)> {
    if let Some(rest) = word.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        return Some((host, rest.strip_prefix(':').and_then(|port| port.parse().ok())));
    }
    match word.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') => Some((host, Some(port.parse().ok()?))),
        _ => Some((word, None)),
    }
}

fn net(text: &str) -> Option<What> {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (IpAddr::from_str(address).ok()?, bits.parse().ok()?),
        None => (IpAddr::from_str(text).ok()?, 128),
    };
    let most = if address.is_ipv4() { 32 } else { 128 };
    let given = text.contains('/');
    (!given || bits <= most).then_some(What::Net(address, bits.min(most)))
}

/// A name as it is compared: in lower case, internationalised names in their ASCII form.
fn domain(text: &str) -> Option<String> {
    let name = text.trim_start_matches("*.").trim_matches('.');
    match Host::parse(name).ok()? {
        Host::Domain(name) => Some(name),
        _ => None,
    }
}

impl What {
    fn matches(&self, host: &Host<&str>) -> bool {
        match (self, host) {
            (Self::All, _) => true,
            (Self::Domain(own), Host::Domain(host)) => {
                let host = host.trim_end_matches('.');
                host.strip_suffix(own.as_str()).is_some_and(|before| before.is_empty() || before.ends_with('.'))
            }
            (Self::Net(net, bits), Host::Ipv4(address)) => is_in(IpAddr::V4(*address), *net, *bits),
            (Self::Net(net, bits), Host::Ipv6(address)) => is_in(address.to_canonical(), net.to_canonical(), *bits),
            _ => false,
        }
    }
}

fn is_in(address: IpAddr, net: IpAddr, bits: u32) -> bool {
    match (address, net) {
        (IpAddr::V4(address), IpAddr::V4(net)) => {
            (address.to_bits() ^ net.to_bits()).checked_shr(32_u32.saturating_sub(bits)).unwrap_or(0) == 0
        }
        (IpAddr::V6(address), IpAddr::V6(net)) => {
            (address.to_bits() ^ net.to_bits()).checked_shr(128_u32.saturating_sub(bits)).unwrap_or(0) == 0
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_ports_networks_and_the_star() {
        for (list, url, want) in [
            ("", "http://a.example/", false),
            ("*", "http://a.example/", true),
            ("example.org", "http://example.org/", true),
            ("example.org", "http://EXAMPLE.org./", true),
            ("example.org", "http://a.b.example.org:81/", true),
            ("example.org", "http://notexample.org/", false),
            ("example.org", "http://example.org.evil/", false),
            (".example.org", "http://example.org/", true),
            ("*.example.org", "http://a.example.org/", true),
            ("a.com, b.com , .c.com", "http://b.com/", true),
            ("a.com b.com", "http://x.b.com/", true),
            ("b.com:8080", "http://b.com:8080/", true),
            ("b.com:8080", "http://b.com/", false),
            ("b.com:80", "http://b.com/", true),
            ("b.com:443", "https://b.com/", true),
            ("bücher.example", "http://xn--bcher-kva.example/", true),
            ("127.0.0.1", "http://127.0.0.1:9/", true),
            ("127.0.0.1:9", "http://127.0.0.1:9/", true),
            ("127.0.0.1:9", "http://127.0.0.1:8/", false),
            ("127.0.0.1", "http://127.0.0.2/", false),
            ("10.0.0.0/8", "http://10.200.3.4/", true),
            ("10.0.0.0/8", "http://11.0.0.1/", false),
            ("0.0.0.0/0", "http://11.0.0.1/", true),
            ("10.0.0.0/33", "http://10.0.0.0/", false),
            ("::1", "http://[::1]/", true),
            ("[::1]:81", "http://[::1]:81/", true),
            ("[::1]:81", "http://[::1]/", false),
            ("fd00::/8", "http://[fdab::1]/", true),
            ("fd00::/8", "http://[fe80::1]/", false),
            ("::/0", "http://[fe80::1]/", true),
            ("127.0.0.0/8", "http://localhost/", false),
            ("localhost", "http://localhost:80/", true),
        ] {
            assert_eq!(NoProxy::parse(list).matches(&Url::parse(url).unwrap()), want, "{list} {url}");
        }
    }
}
