//! https against a server whose certificate comes from an authority that this test has made.

#![expect(clippy::unwrap_used, reason = "a test that fails says where")]
#![expect(dead_code, reason = "other tests use what this one has no use for")]

#[path = "../support/mod.rs"]
mod support;

use std::{env, fs, path::PathBuf, process::Command, sync::Arc};

use larder::{Backend, CachedSession, CachedSessionBuilder, ClientCert, ErrorKind, Mode, Verify};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer},
    server::WebPkiClientVerifier,
};
use support::{Origin, Reply};
use tempfile::TempDir;

/// An authority, and the files that it has given out.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { issuer, folder }
    }

    fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// A certificate and its key.
    fn issue(&self, name: &str, usage: ExtendedKeyUsagePurpose) -> (rcgen::Certificate, KeyPair) {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap(), key)
    }

    /// A server with a certificate for this name; it wants one from its clients if it is told whose.
    fn server(&self, name: &str, clients: Option<&Self>) -> Origin {
        let (certificate, key) = self.issue(name, ExtendedKeyUsagePurpose::ServerAuth);
        let chain = vec![certificate.der().clone()];
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder =
            ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions().unwrap();
        let config = match clients {
            Some(clients) => {
                let mut roots = RootCertStore::empty();
                roots.add(CertificateDer::from(clients.issuer.der().to_vec())).unwrap();
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
                builder.with_client_cert_verifier(verifier).with_single_cert(chain, key)
            }
            None => builder.with_no_client_auth().with_single_cert(chain, key),
        };
        let origin = Origin::start_tls(&Arc::new(config.unwrap()));
        origin.route("/", Reply::ok("secret")).route("/moved", Reply::redirect(302, "/"));
        origin
    }

    /// Certificate and key of a client, as two files.
    fn client(&self, name: &str) -> (PathBuf, PathBuf) {
        let (certificate, key) = self.issue(name, ExtendedKeyUsagePurpose::ClientAuth);
        let paths = ["crt", "key"].map(|kind| self.folder.path().join(format!("{name}.{kind}")));
        fs::write(&paths[0], certificate.pem()).unwrap();
        fs::write(&paths[1], key.serialize_pem()).unwrap();
        let [certificate, key] = paths;
        (certificate, key)
    }
}

fn builder() -> CachedSessionBuilder {
    CachedSession::builder("cache").backend(Backend::Memory).trust_env(false)
}

#[test]
fn an_unknown_authority_is_refused_and_a_named_one_is_trusted() {
    let authority = Authority::new();
    let origin = authority.server("localhost", None);
    let session = builder().build().unwrap();
    let error = session.get(origin.url("/")).send().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tls, "{error}");
    assert_eq!(origin.total_hits(), 0);
    for from_cache in [false, true] {
        let trusted = session.get(origin.url("/")).verify(Verify::Ca(authority.ca())).send().unwrap();
        assert_eq!((trusted.text().unwrap().as_str(), trusted.from_cache()), ("secret", from_cache));
    }
    // A folder with other things in it; and as the setting of the session.
    fs::write(authority.folder.path().join("readme"), "nothing of interest").unwrap();
    let folder = builder().verify(authority.folder.path()).build().unwrap();
    assert_eq!(folder.get(origin.url("/moved")).send().unwrap().history().len(), 1);
    assert_eq!(folder.get(origin.url("/moved")).verify(true).no_store().send().unwrap_err().kind(), ErrorKind::Tls);
    let other = Authority::new();
    assert_eq!(session.get(origin.url("/")).no_store().verify(other.ca()).send().unwrap_err().kind(), ErrorKind::Tls);
}

impl Authority {
    fn wrong_files(&self) -> [PathBuf; 3] {
        let folder = self.folder.path();
        fs::write(folder.join("text"), "no certificate").unwrap();
        fs::create_dir_all(folder.join("empty")).unwrap();
        [folder.join("missing"), folder.join("text"), folder.join("empty")]
    }
}

#[test]
fn what_is_no_certificate_is_an_error_that_names_the_file() {
    let authority = Authority::new();
    let origin = authority.server("localhost", None);
    let session = builder().build().unwrap();
    for path in authority.wrong_files() {
        let error = session.get(origin.url("/")).verify(Verify::Ca(path.clone())).send().unwrap_err();
        assert_eq!((error.kind(), error.path()), (ErrorKind::InvalidInput, Some(&*path)), "{error}");
        let error = session.get(origin.url("/")).client_cert(path.clone()).send().unwrap_err();
        assert_eq!(
            (error.kind(), error.path().is_some()),
            (ErrorKind::InvalidInput, path.is_file() || error.path().is_some())
        );
    }
    // What is not encrypted needs none of it.
    let plain = Origin::start();
    plain.route("/", Reply::ok("x"));
    assert!(session.get(plain.url("/")).verify("missing").client_cert("missing").send().is_ok());
}

#[test]
fn another_name_is_refused_unless_nothing_is_verified() {
    let authority = Authority::new();
    let origin = authority.server("other.example", None);
    let session = builder().verify(Verify::Ca(authority.ca())).build().unwrap();
    assert_eq!(session.get(origin.url("/")).send().unwrap_err().kind(), ErrorKind::Tls);
    assert_eq!(session.get(origin.url("/")).verify(false).send().unwrap().text().unwrap(), "secret");
}

#[test]
fn a_verified_and_an_unverified_answer_never_share_an_entry() {
    let authority = Authority::new();
    let origin = authority.server("localhost", None);
    for shared in [false, true] {
        for secret in [None, Some("Bearer t")] {
            let folder = tempfile::tempdir().unwrap();
            let session = CachedSession::builder("cache")
                .location(folder.path())
                .trust_env(false)
                .share_across_credentials(shared)
                .build()
                .unwrap();
            let ask = |verify: Verify| {
                let mut request = session.get(origin.url("/moved")).verify(verify);
                if let Some(secret) = secret {
                    request = request.header("Authorization", secret);
                }
                request.send()
            };
            assert!(!ask(Verify::Off).unwrap().from_cache());
            assert!(ask(Verify::Off).unwrap().from_cache());
            assert_eq!(ask(Verify::On).unwrap_err().kind(), ErrorKind::Tls, "what nobody vouches for is not served");
            let verified = ask(Verify::Ca(authority.ca())).unwrap();
            assert!(!verified.from_cache() && !verified.history()[0].from_cache());
            assert!(ask(Verify::On).unwrap().from_cache(), "what was verified is good for all who verify");
            let unverified = ask(Verify::Off).unwrap();
            assert!(unverified.from_cache() && unverified.cache_key() != verified.cache_key());
            session.cache().delete_url(origin.url("/")).unwrap();
            assert!(session.cache().is_empty().unwrap(), "both go with their URL");
        }
    }
}

#[test]
fn recordings_are_replayed_whether_they_were_verified_or_not() {
    let authority = Authority::new();
    let origin = authority.server("localhost", None);
    let folder = tempfile::tempdir().unwrap();
    let record = CachedSession::builder("cache").location(folder.path()).verify(false).build().unwrap();
    record.get(origin.url("/moved")).send().unwrap();
    let replay = CachedSession::builder("cache").location(folder.path()).mode(Mode::Offline).build().unwrap();
    assert!(replay.get(origin.url("/moved")).send().unwrap().from_cache());
}

#[test]
fn client_certificates_are_shown_and_make_partitions() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let origin = authority.server("localhost", Some(&clients));
    let session = builder().verify(authority.ca()).build().unwrap();
    let error = session.get(origin.url("/")).send().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Tls | ErrorKind::Network), "{error}");
    let (certificate, key) = clients.client("alice");
    let both = clients.folder.path().join("both.pem");
    let pem = fs::read_to_string(&certificate).unwrap() + &fs::read_to_string(&key).unwrap();
    fs::write(&both, &pem).unwrap();
    let ask = |certificate: ClientCert| session.get(origin.url("/")).client_cert(certificate).send().unwrap();
    assert!(!ask((&certificate, &key).into()).from_cache());
    assert!(ask((&certificate, &key).into()).from_cache());
    assert!(!ask(both.into()).from_cache(), "another file is another credential");
    assert!(!ask(ClientCert::from_pem(pem.clone().replace('\n', "\r\n"))).from_cache());
    let (other, other_key) = clients.client("bob");
    assert!(!ask((other, other_key).into()).from_cache(), "somebody else gets an answer of his own");
    let without_key = session.get(origin.url("/")).no_store().client_cert(certificate.clone()).send().unwrap_err();
    assert!(without_key.kind() == ErrorKind::InvalidInput && without_key.path().is_some(), "{without_key}");
    let (_, foreign) = clients.client("carol");
    let mixed = session.get(origin.url("/")).no_store().client_cert((&certificate, &foreign)).send().unwrap_err();
    assert!(mixed.kind() == ErrorKind::InvalidInput && mixed.to_string().contains("together"), "{mixed}");
    let default = builder().verify(authority.ca()).client_cert((&certificate, &key)).build().unwrap();
    assert_eq!(default.get(origin.url("/")).send().unwrap().text().unwrap(), "secret");
    assert!(!format!("{:?}", ClientCert::from_pem(pem)).contains("PRIVATE"));
}

#[test]
fn connections_are_kept_for_each_setting_and_bounded() {
    let authority = Authority::new();
    let origin = authority.server("localhost", None);
    let session = builder().verify(authority.ca()).timeout(std::time::Duration::from_secs(30)).build().unwrap();
    for _ in 0..5 {
        session.get(origin.url("/")).no_store().send().unwrap();
        session.get(origin.url("/")).no_store().verify(false).send().unwrap();
    }
    assert_eq!(origin.connections(), 2);
    for n in 0..40 {
        let copy = authority.folder.path().join(format!("copy-{n}.pem"));
        fs::copy(authority.ca(), &copy).unwrap();
        session.get(origin.url("/")).no_store().verify(copy).send().unwrap();
    }
    assert_eq!(origin.connections(), 42);
}

#[test]
fn a_user_s_own_tls_settings_of_ureq_count_until_larder_is_told_otherwise() {
    let authority = Authority::new();
    let origin = authority.server("localhost", None);
    let tls = ureq::tls::TlsConfig::builder().disable_verification(true).build();
    let config = ureq::config::Config::builder().tls_config(tls).build();
    let session = builder().agent_config(config).build().unwrap();
    for _ in 0..3 {
        assert_eq!(session.get(origin.url("/")).no_store().send().unwrap().text().unwrap(), "secret");
    }
    assert_eq!(origin.connections(), 1);
    let other = Authority::new();
    assert_eq!(session.get(origin.url("/")).verify(other.ca()).send().unwrap_err().kind(), ErrorKind::Tls);
}

/// Keeps the texts of warnings.
#[cfg(feature = "tracing")]
struct Warnings(Arc<std::sync::Mutex<Vec<String>>>);

#[cfg(feature = "tracing")]
impl tracing::Subscriber for Warnings {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::WARN
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        struct Text(String);
        impl tracing::field::Visit for Text {
            fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
                self.0 = format!("{}{field}: {value:?}; ", self.0);
            }
        }
        let mut text = Text(String::new());
        event.record(&mut text);
        self.0.lock().unwrap().push(text.0);
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

#[cfg(feature = "tracing")]
#[test]
fn whoever_verifies_nothing_is_warned_each_time_that_something_is_sent() {
    let authority = Authority::new();
    let origin = authority.server("localhost", None);
    let warnings = Arc::default();
    tracing::subscriber::with_default(Warnings(Arc::clone(&warnings)), || {
        let session = builder().verify(authority.ca()).build().unwrap();
        session.get(origin.url("/?token=swordfish")).send().unwrap();
        assert!(warnings.lock().unwrap().is_empty());
        for _ in 0..2 {
            session.get(origin.url("/?token=swordfish")).verify(false).send().unwrap();
        }
    });
    let warnings = warnings.lock().unwrap();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("not verified") && warnings[0].contains("localhost"), "{warnings:?}");
    assert!(!warnings[0].contains("swordfish"), "{warnings:?}");
}

#[test]
fn the_environment_names_authorities() {
    let authority = Authority::new();
    let origin = authority.server("localhost", None);
    let (ca, folder) = (authority.ca(), authority.folder.path().to_owned());
    let other = Authority::new();
    for variables in [
        vec![("REQUESTS_CA_BUNDLE", ca.clone()), ("SSL_CERT_FILE", other.ca())],
        vec![("CURL_CA_BUNDLE", ca.clone())],
        vec![("SSL_CERT_FILE", ca.clone())],
        vec![("SSL_CERT_DIR", folder)],
    ] {
        let mut process = Command::new(env::current_exe().unwrap());
        for name in ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"] {
            process.env_remove(name);
        }
        let output = process
            .args(["--exact", "the_process_with_authorities", "--include-ignored", "--nocapture"])
            .env("LARDER_TEST_URL", origin.url("/"))
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("1 passed"), "{variables:?} {said}");
    }
}

#[test]
#[ignore = "a part of the test above, which starts it as a process of its own"]
fn the_process_with_authorities() {
    let Ok(url) = env::var("LARDER_TEST_URL") else { return };
    let session = CachedSession::builder("cache").backend(Backend::Memory).build().unwrap();
    assert_eq!(session.get(&url).send().unwrap().text().unwrap(), "secret");
    assert_eq!(builder().build().unwrap().get(&url).send().unwrap_err().kind(), ErrorKind::Tls);
}
