//! What can go wrong on the way to a server, in the words of this crate.

use std::io;

use super::transport::{Timeout, timed_out};
use crate::{Error, ErrorKind};

pub(super) fn map_error(method: &http::Method, timeout: Timeout, error: ureq::Error) -> Error {
    use ureq::Error as Cause;
    let (kind, message) = match &error {
        Cause::Timeout(_) => return timed_out(method, timeout).with_source(error),
        Cause::Io(cause) if is_timeout(cause) => return timed_out(method, timeout).with_source(error),
        // Its text repeats the URL, credentials and all: it is not kept as the source.
        Cause::BadUri(_) => {
            let message = format!("cannot send {method}: the URL is not one that HTTP can ask for");
            return Error::new(ErrorKind::InvalidInput, message);
        }
        // So does this one.
        Cause::RequireHttpsOnly(_) => {
            let message = format!("cannot send {method}: agent_config(..) says https_only, and the URL is not https");
            return Error::new(ErrorKind::InvalidInput, message);
        }
        Cause::HostNotFound => {
            (ErrorKind::Network, "the host name does not resolve; check the name and the DNS".into())
        }
        Cause::ConnectionFailed => (ErrorKind::Network, "no connection; check that the server runs".into()),
        Cause::Tls(_) | Cause::TlsRequired => (ErrorKind::Tls, tls_advice(&error)),
        #[cfg(feature = "tls")]
        Cause::Rustls(_) => (ErrorKind::Tls, tls_advice(&error)),
        Cause::Http(_) => (ErrorKind::InvalidInput, format!("the request cannot be written as HTTP ({error})")),
        Cause::Io(cause) if is_tls(cause) => (ErrorKind::Tls, tls_advice(&error)),
        Cause::Io(cause) => (ErrorKind::Network, io_advice(cause)),
        Cause::Protocol(_) => {
            (ErrorKind::Network, format!("the server's answer is not valid HTTP ({error}); check address and port"))
        }
        Cause::ConnectProxyFailed(why) => {
            (ErrorKind::Network, format!("the proxy did not connect ({why}); check its address and credentials"))
        }
        other => (ErrorKind::Network, other.to_string()),
    };
    Error::new(kind, format!("cannot send {method}: {message}")).with_source(error)
}

fn is_timeout(cause: &io::Error) -> bool {
    matches!(cause.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock)
}

/// rustls reports a bad certificate as an I/O error of the first read or write.
fn is_tls(cause: &io::Error) -> bool {
    cause.kind() == io::ErrorKind::InvalidData
}

fn tls_advice(error: &ureq::Error) -> String {
    if cfg!(feature = "tls") {
        format!("the TLS connection failed ({error}); check the certificate, the name in the URL and the clock")
    } else {
        "https needs the feature `tls`, which is not compiled in".to_owned()
    }
}

fn io_advice(cause: &io::Error) -> String {
    match cause.kind() {
        io::ErrorKind::ConnectionRefused => {
            format!("{cause}; check that the server runs and that address and port are right")
        }
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
            format!("the server closed the connection before it answered ({cause}); try again")
        }
        _ => cause.to_string(),
    }
}
