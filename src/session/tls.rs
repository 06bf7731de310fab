//! Which servers are trusted, and what they are shown.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use bytes::Bytes;

#[cfg(feature = "tls")]
use rustls::{
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};

#[cfg(feature = "tls")]
use super::request::invalid;
#[cfg(feature = "tls")]
use crate::{Error, Result};

/// How the certificate of a server is verified, for https.
///
/// Made from a `bool` and from the path of a file or folder as well.
///
/// An answer that was fetched without verification is never served to a request that verifies, nor the other way
/// round; only the replay modes, which take recordings of whatever origin, do not tell them apart.
///
/// ```no_run
/// use larder::{Backend, CachedSession, Verify};
///
/// # fn main() -> larder::Result<()> {
/// let session = CachedSession::builder("cache").verify(Verify::Ca("company-ca.pem".into())).build()?;
/// session.get("https://intranet.example/").send()?;
/// session.get("https://self-signed.example/").verify(false).send()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Verify {
    /// By the roots that are built in (those of Mozilla), or by those that the environment names: the first of
    /// `REQUESTS_CA_BUNDLE`, `CURL_CA_BUNDLE`, `SSL_CERT_FILE` and `SSL_CERT_DIR` that is set when the session is
    /// built. The default.
    #[default]
    On,
    /// Not at all: anyone on the way can read and change everything. Each such request is a warning of the feature
    /// `tracing`.
    Off,
    /// By the certificates in this PEM file, or in the files of this folder, and by no others. It is read when it is
    /// first used; what is wrong with it is an error of `send()`.
    Ca(PathBuf),
}

impl From<bool> for Verify {
    fn from(on: bool) -> Self {
        if on { Self::On } else { Self::Off }
    }
}

impl From<PathBuf> for Verify {
    fn from(path: PathBuf) -> Self {
        Self::Ca(path)
    }
}

impl From<&Path> for Verify {
    fn from(path: &Path) -> Self {
        Self::Ca(path.to_owned())
    }
}

impl From<&PathBuf> for Verify {
    fn from(path: &PathBuf) -> Self {
        Self::Ca(path.clone())
    }
}

impl From<&str> for Verify {
    fn from(path: &str) -> Self {
        Self::Ca(path.into())
    }
}

impl From<String> for Verify {
    fn from(path: String) -> Self {
        Self::Ca(path.into())
    }
}

/// A client certificate and its private key, in PEM, unencrypted.
///
/// Made from the path of one file that holds both, or from a pair of paths: the certificate (with those that lead from
/// it to the root, if any) and the key. The files are read when they are first used; what is wrong with them is an
/// error of `send()`.
///
/// ```no_run
/// # use larder::CachedSession;
/// # fn main() -> larder::Result<()> {
/// let session = CachedSession::builder("cache").client_cert(("client.crt", "client.key")).build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct ClientCert(Arc<Inner>);

struct Inner {
    source: Source,
    credential: OnceLock<Bytes>,
}

impl PartialEq for Inner {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for Inner {}

#[derive(PartialEq, Eq)]
enum Source {
    Files(PathBuf, PathBuf),
    Pem(Vec<u8>),
}

impl ClientCert {
    /// Certificates and key in one PEM text.
    pub fn from_pem(pem: impl Into<Vec<u8>>) -> Self {
        Self::of(Source::Pem(pem.into()))
    }

    /// What stands for it among the credentials: the certificate, which names its owner; if it cannot be read, its
    /// path.
    pub(super) fn credential(&self) -> Bytes {
        let read = || match &self.0.source {
            Source::Pem(pem) => pem.clone().into(),
            Source::Files(path, _) => {
                fs::read(path).unwrap_or_else(|_| path.as_os_str().as_encoded_bytes().to_vec()).into()
            }
        };
        self.0.credential.get_or_init(read).clone()
    }

    fn of(source: Source) -> Self {
        Self(Arc::new(Inner { source, credential: OnceLock::new() }))
    }
}

impl From<&str> for ClientCert {
    fn from(path: &str) -> Self {
        Path::new(path).into()
    }
}

impl From<String> for ClientCert {
    fn from(path: String) -> Self {
        PathBuf::from(path).into()
    }
}

impl From<&Path> for ClientCert {
    fn from(path: &Path) -> Self {
        path.to_owned().into()
    }
}

impl From<&PathBuf> for ClientCert {
    fn from(path: &PathBuf) -> Self {
        path.clone().into()
    }
}

impl From<PathBuf> for ClientCert {
    fn from(path: PathBuf) -> Self {
        (path.clone(), path).into()
    }
}

impl<C: AsRef<Path>, K: AsRef<Path>> From<(C, K)> for ClientCert {
    fn from((certificate, key): (C, K)) -> Self {
        Self::of(Source::Files(certificate.as_ref().to_owned(), key.as_ref().to_owned()))
    }
}

impl fmt::Debug for ClientCert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.source {
            Source::Files(path, _) => write!(f, "ClientCert({})", path.display()),
            Source::Pem(_) => f.write_str("ClientCert(in memory)"),
        }
    }
}

#[cfg(feature = "tls")]
pub(super) fn config(verify: &Verify, client_cert: Option<&ClientCert>) -> Result<ureq::tls::TlsConfig> {
    let mut config = ureq::tls::TlsConfig::builder();
    match verify {
        Verify::On => {}
        Verify::Off => config = config.disable_verification(true),
        Verify::Ca(path) => config = config.root_certs(roots(path)?.into()),
    }
    if let Some(client_cert) = client_cert {
        config = config.client_cert(Some(client_cert.load()?));
    }
    Ok(config.build())
}

/// The certificates in a file, or in the files of a folder; what is no certificate there is passed over.
#[cfg(feature = "tls")]
fn roots(path: &Path) -> Result<Vec<ureq::tls::Certificate<'static>>> {
    let mut files = vec![path.to_owned()];
    if path.is_dir() {
        let listed = fs::read_dir(path).and_then(Iterator::collect::<std::io::Result<Vec<_>>>);
        files = listed.map_err(|error| unreadable(path, &error))?.iter().map(fs::DirEntry::path).collect();
        files.retain(|file| file.is_file());
        files.sort();
    }
    let mut roots = Vec::new();
    for file in files {
        let text = fs::read(&file).map_err(|error| unreadable(&file, &error))?;
        roots.extend(ureq::tls::parse_pem(&text).filter_map(|item| match item {
            Ok(ureq::tls::PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        }));
    }
    if roots.is_empty() {
        return Err(invalid("there is no certificate in PEM where CA certificates should be").with_path(path));
    }
    Ok(roots)
}

#[cfg(feature = "tls")]
fn unreadable(path: &Path, error: &std::io::Error) -> Error {
    invalid(format!("a certificate or key cannot be read ({error})")).with_path(path)
}

#[cfg(feature = "tls")]
impl ClientCert {
    fn load(&self) -> Result<ureq::tls::ClientCert> {
        let (certificates, key, path) = match &self.0.source {
            Source::Pem(pem) => (pem.clone(), pem.clone(), None),
            Source::Files(certificate, key) => {
                let read = |path: &PathBuf| fs::read(path).map_err(|error| unreadable(path, &error));
                (read(certificate)?, read(key)?, Some(key))
            }
        };
        let wrong = |what: &str| {
            let error = invalid(format!("the client certificate has no {what} in PEM, unencrypted"));
            path.map_or_else(|| error.duplicate(), |path| error.duplicate().with_path(path))
        };
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&certificates).filter_map(Result::ok).collect();
        if chain.is_empty() {
            return Err(wrong("certificate"));
        }
        let private = PrivateKeyDer::from_pem_slice(&key).map_err(|_| wrong("private key"))?;
        // ureq takes for granted that they fit.
        let provider = CryptoProvider::get_default().cloned();
        let provider = provider.unwrap_or_else(|| Arc::new(rustls::crypto::ring::default_provider()));
        CertifiedKey::from_der(chain.clone(), private, &provider).map_err(|error| {
            invalid(format!("the client certificate and its key cannot be used together ({error})"))
        })?;
        let chain: Vec<_> = chain.iter().map(|der| ureq::tls::Certificate::from_der(der).to_owned()).collect();
        let key = ureq::tls::PrivateKey::from_pem(&key).map_err(|_| wrong("private key"))?;
        Ok(ureq::tls::ClientCert::new_with_certs(&chain, key))
    }
}
