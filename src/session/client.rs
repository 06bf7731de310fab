//! The transport of a session that was given no other: HTTP/1.1 by `ureq`, connections kept and shared.

use std::{
    io::{self, Read},
    sync::{Mutex, PoisonError},
};

use bytes::Bytes;
use http::{
    Method, Request, Response, Uri,
    header::{
        ACCEPT, ACCEPT_ENCODING, CONTENT_LENGTH, EXPECT, HOST, HeaderValue, PROXY_AUTHORIZATION, TRANSFER_ENCODING,
        USER_AGENT,
    },
};
use ureq::{SendBody, unversioned::resolver::DefaultResolver};

use super::{
    ClientCert, HopOptions, Proxy, Timeout, Transport, Verify, WireBody, basic,
    body::unreadable,
    client_errors::map_error,
    delivery::secret_value,
    forward::{Forward, Plain},
    request::invalid,
    transport::with_body,
};
use crate::Result;

/// Agents that are kept, each with its own connections.
const AGENTS_MAX: usize = 16;

/// What requests must have in common to share connections.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Setup {
    verify: Verify,
    client_cert: Option<ClientCert>,
    /// Whether whole URLs are asked, of a proxy.
    forward: bool,
}

/// Sends by one agent for each setup.
#[derive(Debug, Default)]
pub(crate) struct UreqTransport {
    /// The settings of the user's own agents.
    config: Option<ureq::config::Config>,
    /// The last one used at the end.
    agents: Mutex<Vec<(Setup, ureq::Agent)>>,
}

impl UreqTransport {
    pub(crate) fn new(config: Option<ureq::config::Config>) -> Self {
        Self { config, agents: Mutex::default() }
    }

    fn agent(&self, setup: &Setup) -> Result<ureq::Agent> {
        let mut agents = self.agents.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = agents.iter().position(|(own, _)| own == setup) {
            let used = agents.remove(at);
            let agent = used.1.clone();
            agents.push(used);
            return Ok(agent);
        }
        let agent = self.make(setup)?;
        if agents.len() >= AGENTS_MAX {
            agents.remove(0);
        }
        agents.push((setup.clone(), agent.clone()));
        Ok(agent)
    }

    fn make(&self, setup: &Setup) -> Result<ureq::Agent> {
        let own_tls = setup.verify != Verify::On || setup.client_cert.is_some();
        let config = match &self.config {
            Some(config) if !own_tls => config.clone(),
            config => with_tls(config.as_ref(), setup)?,
        };
        let resolver = DefaultResolver::default();
        Ok(if setup.forward {
            ureq::Agent::with_parts(config, Forward::default(), resolver)
        } else {
            ureq::Agent::with_parts(config, Plain::default(), resolver)
        })
    }

    fn exchange(
        &self,
        request: &Request<()>,
        body: SendBody<'_>,
        options: &HopOptions,
    ) -> Result<Response<ureq::Body>> {
        let https = request.uri().scheme_str() == Some("https");
        let by_http = options.proxy.as_ref().filter(|proxy| matches!(proxy.scheme(), "http" | "https"));
        let forward = by_http.filter(|_| !https);
        // Neither is of any meaning for what is not encrypted.
        let encrypted = https || forward.is_some_and(|proxy| proxy.scheme() == "https");
        let agent = self.agent(&Setup {
            verify: if encrypted { options.verify.clone() } else { Verify::On },
            client_cert: options.client_cert.clone().filter(|_| encrypted),
            forward: forward.is_some(),
        })?;
        let mut request = with_body(request, body);
        let mut tunnel = None;
        if let Some(proxy) = forward {
            ask_proxy(&mut request, proxy)?;
        } else if let Some(proxy) = &options.proxy {
            tunnel = Some(tunnel_by(proxy)?);
        }
        let method = request.method().clone();
        let request = self.configured(&agent, request, options.timeout, tunnel, forward.is_some());
        agent.run(request).map_err(|error| map_error(&method, options.timeout, error))
    }

    /// The request with what it alone is set to. Without anything of that kind nothing is copied.
    fn configured<'b>(
        &self,
        agent: &ureq::Agent,
        request: Request<SendBody<'b>>,
        timeout: Timeout,
        tunnel: Option<ureq::Proxy>,
        forward: bool,
    ) -> Request<SendBody<'b>> {
        if self.config.is_none() && timeout == Timeout::default() && tunnel.is_none() {
            return request;
        }
        let [agent_name, accept, coding] =
            [USER_AGENT, ACCEPT, ACCEPT_ENCODING].map(|name| request.headers().contains_key(name));
        let mut config = agent.configure_request(request);
        if timeout.total.is_some() {
            config = config.timeout_global(timeout.total);
        }
        if timeout.connect.is_some() {
            config = config.timeout_resolve(timeout.connect).timeout_connect(timeout.connect);
        }
        if timeout.read.is_some() {
            config = config.timeout_per_read(timeout.read);
        }
        // A proxy of the user's own settings stays, one that ureq found in the environment is not ours.
        let own =
            self.config.as_ref().and_then(ureq::config::Config::proxy).filter(|proxy| !proxy.is_from_env() && !forward);
        config = config.proxy(tunnel.or_else(|| own.cloned()));
        if self.config.is_some() {
            config = config
                .max_redirects(0)
                .max_redirects_will_error(false)
                .http_status_as_error(false)
                .save_redirect_history(false)
                .allow_non_standard_methods(true);
            // A header that was removed stays away. The name has a part in which connections are shared, so it is left
            // alone where it says nothing.
            if !agent_name {
                config = config.user_agent("");
            }
            if !accept {
                config = config.accept("");
            }
            if !coding {
                config = config.accept_encoding("");
            }
        }
        config.build()
    }
}

impl Transport for UreqTransport {
    fn send(&self, request: &Request<Bytes>, options: &HopOptions) -> Result<Response<WireBody>> {
        let mut bytes = &request.body()[..];
        let without = bytes.is_empty() && !expects_body(request.method());
        let mut head = with_body(request, ());
        if without {
            return self.exchange(&head, SendBody::none(), options).map(body_of);
        }
        if !head.headers().contains_key(TRANSFER_ENCODING) {
            head.headers_mut().insert(CONTENT_LENGTH, bytes.len().into());
        }
        self.exchange(&head, SendBody::from_reader(&mut bytes), options).map(body_of)
    }

    fn send_reader(
        &self,
        request: &Request<()>,
        body: &mut (dyn Read + Send),
        len: Option<u64>,
        options: &HopOptions,
    ) -> Result<Response<WireBody>> {
        let mut head = with_body(request, ());
        if let Some(len) = len.filter(|_| !head.headers().contains_key(TRANSFER_ENCODING)) {
            head.headers_mut().insert(CONTENT_LENGTH, len.into());
        }
        let mut body = Watched { body, failed: None };
        let answer = self.exchange(&head, SendBody::from_reader(&mut body), options);
        match body.failed {
            // Whatever became of the connection then: the cause is on this side.
            Some(error) => Err(unreadable(&error)),
            None => answer.map(body_of),
        }
    }
}

/// The settings of the agents of a session: everything that ureq would do on its own account is off. Each header that
/// it would add stands in the request, so that what is shown and stored as "sent" was sent.
#[cfg_attr(not(feature = "tls"), expect(clippy::unnecessary_wraps, reason = "certificates may not be readable"))]
fn with_tls(user: Option<&ureq::config::Config>, setup: &Setup) -> Result<ureq::config::Config> {
    let mut config = ureq::config::Config::builder()
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        .allow_non_standard_methods(true)
        .user_agent("")
        .accept("")
        .accept_encoding("")
        .proxy(None);
    if let Some(user) = user {
        let timeouts = user.timeouts();
        config = config
            .https_only(user.https_only())
            .ip_family(user.ip_family())
            .no_delay(user.no_delay())
            .timeout_global(timeouts.global)
            .timeout_per_call(timeouts.per_call)
            .timeout_resolve(timeouts.resolve)
            .timeout_connect(timeouts.connect)
            .timeout_send_request(timeouts.send_request)
            .timeout_await_100(timeouts.await_100)
            .timeout_send_body(timeouts.send_body)
            .timeout_recv_response(timeouts.recv_response)
            .timeout_recv_body(timeouts.recv_body)
            .timeout_per_read(user.timeout_per_read())
            .timeout_per_write(user.timeout_per_write())
            .max_response_header_size(user.max_response_header_size())
            .input_buffer_size(user.input_buffer_size())
            .output_buffer_size(user.output_buffer_size())
            .max_idle_connections(user.max_idle_connections())
            .max_idle_connections_per_host(user.max_idle_connections_per_host())
            .max_idle_age(user.max_idle_age());
    }
    #[cfg(feature = "tls")]
    {
        config = config.tls_config(super::tls::config(&setup.verify, setup.client_cert.as_ref())?);
    }
    #[cfg(not(feature = "tls"))]
    let _ = setup;
    Ok(config.build())
}

/// Makes a request for a URL one that asks a proxy for it.
fn ask_proxy(request: &mut Request<SendBody<'_>>, proxy: &Proxy) -> Result<()> {
    let not_http = || invalid("the URL is not one that a proxy can be asked for");
    let target = request.uri().clone();
    if !request.headers().contains_key(HOST) {
        let host = target.authority().map(http::uri::Authority::as_str).ok_or_else(not_http)?;
        let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
        let host = host.strip_suffix(":80").unwrap_or(host);
        let host = HeaderValue::try_from(host).map_err(|_| not_http())?;
        request.headers_mut().insert(HOST, host);
    }
    if let Some((user, password)) = proxy.credentials() {
        let value = secret_value(basic::authorization(user, password))?;
        request.headers_mut().insert(PROXY_AUTHORIZATION, value);
    }
    // Nothing would tell the body from a further request then; see `Forward`.
    request.headers_mut().remove(EXPECT);
    *request.uri_mut() = Uri::builder()
        .scheme(proxy.scheme())
        .authority(format!("{}:{}", proxy.host(), proxy.port()))
        .path_and_query(format!("/{target}"))
        .build()
        .map_err(|_| not_http())?;
    Ok(())
}

/// The proxy as ureq knows it, for a tunnel or for SOCKS.
fn tunnel_by(proxy: &Proxy) -> Result<ureq::Proxy> {
    use ureq::ProxyProtocol as Protocol;
    let protocol = match proxy.scheme() {
        "http" => Protocol::Http,
        "https" => Protocol::Https,
        "socks4" => Protocol::Socks4,
        "socks4a" => Protocol::Socks4A,
        "socks5h" => Protocol::Socks5h,
        _ => Protocol::Socks5,
    };
    let mut builder = ureq::Proxy::builder(protocol).host(proxy.host()).port(proxy.port());
    if let Some((user, password)) = proxy.credentials() {
        builder = builder.username(user).password(password);
    }
    // Its text repeats the URL, credentials and all.
    builder.build().map_err(|_| invalid("the URL of the proxy is not valid"))
}

/// POST, PUT and PATCH say `Content-Length: 0` when they have no body; many servers insist on it.
fn expects_body(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::PUT | Method::PATCH)
}

fn body_of(response: Response<ureq::Body>) -> Response<WireBody> {
    // The convenience readers of ureq stop at 10 MiB; how much is too much is the session's business.
    response.map(|body| Box::new(UreqBody(body.into_with_config().limit(u64::MAX).reader())) as WireBody)
}

/// Notes that it was the body that could not be read, which looks like a broken connection from the other side.
struct Watched<'a> {
    body: &'a mut (dyn Read + Send),
    failed: Option<io::Error>,
}

impl Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.body.read(buffer).map_err(|error| {
            let told = io::Error::new(error.kind(), error.to_string());
            self.failed.get_or_insert(error);
            told
        })
    }
}

/// Tells time-outs apart from other read errors, so that nobody above has to know ureq.
struct UreqBody(ureq::BodyReader<'static>);

impl Read for UreqBody {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).map_err(|error| {
            let timed_out = matches!(error.get_ref().and_then(|e| e.downcast_ref()), Some(ureq::Error::Timeout(_)));
            if timed_out { io::Error::new(io::ErrorKind::TimedOut, error) } else { error }
        })
    }
}
